/* The facts of a decision as people write them down (docs/policies.md, "Facts"), for cases and for trying:
 *
 *     action: {verb: deploy, reach: {percent: 25}, reversal: rollback, arguments: {version: "1.2"}}
 *     agent: {principal: agent/deployer, model: {provider: acme, name: planner, version: "1"}}
 *     targets: [service:prod/shop/cart]          # or {name, zone, owner, tier, labels}
 *     impact: {entry_traffic: 0.04}              # or {expected, low, high}; {} is an impact of nothing
 *     now: 2026-11-22T10:00:00Z
 *
 * The names are those that conditions read. "unknown" in place of a part makes it absent. What is left out
 * stays as it was in *facts: absent, or what an earlier reading set. Everything is in the source's arena. */
#ifndef CLI_FACTS_READER_H
#define CLI_FACTS_READER_H

#include "policies/facts.h"
#include "yaml_fields.h"

/* The keys that facts_read takes, NULL at the end: for maps that hold facts beside others. */
extern const char *const facts_keys[];

/* Reads those keys of `map` and ignores others. INVALID_ARGUMENT with the place. */
status_code facts_read(const yaml_source *source, const yaml_item *map, policy_facts *facts,
                       failure *why) MUST_USE;

/* A file that holds facts and nothing else. */
status_code facts_read_file(const yaml_source *source, policy_facts *facts, failure *why) MUST_USE;

#endif
