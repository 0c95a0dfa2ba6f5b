/* Equality, order and membership (langdef.md, "Equality and Ordering"). */
#include <math.h>
#include <string.h>

#include "code.h"

#define DEPTH_MAX 250U

/* ---- Equality and order
 * ---------------------------------------------------------------------------------------- */

bool is_number_kind(uint8_t kind) {
    return kind == CEL_INT || kind == CEL_UINT || kind == CEL_DOUBLE;
}

static double as_double(cel_value value) {
    return value.kind == CEL_INT    ? (double)value.integer
           : value.kind == CEL_UINT ? (double)value.natural
                                    : value.real;
}

int compare_numbers(cel_value left, cel_value right) {
    if (left.kind == CEL_DOUBLE || right.kind == CEL_DOUBLE) {
        double one = as_double(left);
        double other = as_double(right);
        return isnan(one) || isnan(other) ? 2 : (one > other) - (one < other);
    }
    if (left.kind == CEL_INT && right.kind == CEL_INT)
        return (left.integer > right.integer) - (left.integer < right.integer);
    if (left.kind == CEL_INT && left.integer < 0)
        return -1;
    if (right.kind == CEL_INT && right.integer < 0)
        return 1;
    return (left.natural > right.natural) - (left.natural < right.natural);
}

/* What a deep comparison may still cost (0 ends it), and the first part of a host's value that is unknown or
 * an error. Such a part counts as equal: if the rest differs, so do the values; if not, nobody knows. */
typedef struct effort {
    uint64_t left;
    cel_value absent; /* null: none */
} effort;

static bool spend(effort *self, uint64_t cost) {
    if (self->left <= cost) {
        self->left = 0;
        return false;
    }
    self->left -= cost;
    return true;
}

static bool equal(cel_value left, cel_value right, uint32_t depth, effort *budget);

static bool equal_lists(const cel_list *left, const cel_list *right, uint32_t depth, effort *budget) {
    if (left->count != right->count)
        return false;
    for (uint32_t i = 0; i < left->count; i++)
        if (!spend(budget, 1) || !equal(cel_list_at(left, i), cel_list_at(right, i), depth + 1, budget))
            return false;
    return true;
}

static bool find_in(const cel_map *map, cel_value key, cel_value *value, effort *budget) {
    if (map->entries == NULL)
        return map->find(map->host, key, value);
    for (uint32_t i = 0; i < map->count; i++) {
        const cel_entry *entry = &map->entries[i];
        if (!spend(budget, 1))
            return false;
        if (key.kind == CEL_STRING && entry->key.kind == CEL_STRING
                ? entry->key.size == key.size && memcmp(entry->key.text, key.text, key.size) == 0
                : equal(entry->key, key, 0, budget)) {
            *value = entry->value;
            return true;
        }
    }
    return false;
}

static bool equal_maps(const cel_map *left, const cel_map *right, uint32_t depth, effort *budget) {
    if (left->count != right->count)
        return false;
    for (uint32_t i = 0; i < left->count; i++) {
        cel_entry entry = cel_map_at(left, i);
        cel_value other;
        if (!spend(budget, 1) || !find_in(right, entry.key, &other, budget) ||
            !equal(entry.value, other, depth + 1, budget))
            return false;
    }
    return true;
}

static bool equal_objects(const cel_object *left, const cel_object *right, uint32_t depth, effort *budget) {
    if (left->type != right->type)
        return false;
    for (uint32_t i = 0; i < left->type->count; i++) {
        cel_value one;
        cel_value other;
        bool first = left->type->get(left->host, i, &one);
        if (first != right->type->get(right->host, i, &other) ||
            (first && !equal(one, other, depth + 1, budget)))
            return false;
    }
    return true;
}

static bool equal_addresses(cel_value left, cel_value right) {
    size_t size = left.family == 4 ? 4 : 16;
    return left.family == right.family && (left.kind == CEL_IP || left.prefix == right.prefix) &&
           memcmp(left.address, right.address, size) == 0;
}

static bool equal(cel_value left, cel_value right, uint32_t depth, effort *budget) {
    if (left.kind >= CEL_UNKNOWN || right.kind >= CEL_UNKNOWN) {
        if (budget->absent.kind != CEL_UNKNOWN)
            budget->absent = left.kind == CEL_UNKNOWN || right.kind < CEL_UNKNOWN ? left : right;
        return true;
    }
    if (left.kind != right.kind)
        return is_number_kind(left.kind) && is_number_kind(right.kind) && compare_numbers(left, right) == 0;
    if (depth > DEPTH_MAX)
        return false;
    switch ((cel_kind)left.kind) {
    case CEL_NULL:
        return true;
    case CEL_BOOL:
        return left.boolean == right.boolean;
    case CEL_INT:
    case CEL_UINT:
    case CEL_DURATION:
        return left.natural == right.natural;
    case CEL_DOUBLE:
        return left.real == right.real;
    case CEL_STRING:
    case CEL_BYTES:
    case CEL_TYPE:
        return left.size == right.size && spend(budget, left.size / TEXT_UNIT) &&
               memcmp(left.text, right.text, left.size) == 0;
    case CEL_TIMESTAMP:
        return left.integer == right.integer && left.size == right.size;
    case CEL_LIST:
        return equal_lists(left.list, right.list, depth, budget);
    case CEL_MAP:
        return equal_maps(left.map, right.map, depth, budget);
    case CEL_OPTIONAL:
        return left.inner == NULL || right.inner == NULL
                   ? left.inner == right.inner
                   : equal(*left.inner, *right.inner, depth + 1, budget);
    case CEL_OBJECT:
        return equal_objects(left.object, right.object, depth, budget);
    case CEL_IP:
    case CEL_CIDR:
        return equal_addresses(left, right);
    case CEL_OPAQUE:
        return left.opaque == right.opaque ||
               (left.opaque->host == right.opaque->host && left.opaque->name == right.opaque->name);
    case CEL_UNKNOWN:
    case CEL_ERROR:
        return false;
    }
    return false;
}

bool cel_equal(cel_value left, cel_value right) {
    effort budget = {.left = UINT64_MAX};
    return equal(left, right, 0, &budget) && budget.absent.kind == CEL_NULL;
}

bool cel_map_find(const cel_map *map, cel_value key, cel_value *value) {
    effort budget = {.left = UINT64_MAX};
    return find_in(map, key, value, &budget);
}

static effort effort_of(const cel_call *call) {
    uint64_t used = call->run->cost;
    return (effort){.left = used >= call->limit ? 1 : call->limit - used + 1};
}

static void effort_done(cel_call *call, effort before, effort after) {
    charge(call, before.left - after.left);
}

cel_value values_equal(cel_call *call, cel_value left, cel_value right) {
    effort budget = effort_of(call);
    effort before = budget;
    bool same = equal(left, right, 0, &budget);
    effort_done(call, before, budget);
    return same && budget.absent.kind != CEL_NULL ? budget.absent : cel_bool(same);
}

bool value_find(cel_call *call, const cel_map *map, cel_value key, cel_value *value) {
    effort budget = effort_of(call);
    effort before = budget;
    bool found = find_in(map, key, value, &budget);
    effort_done(call, before, budget);
    return found;
}

static int compare_texts(cel_value left, cel_value right) {
    uint32_t shorter = left.size < right.size ? left.size : right.size;
    int order = memcmp(left.text, right.text, shorter);
    return order != 0 ? (order > 0) - (order < 0) : (left.size > right.size) - (left.size < right.size);
}

/* -1, 0, 1; 2: unordered numbers; 3: these kinds have no order. */
static int compare(cel_value left, cel_value right) {
    if (is_number_kind(left.kind) && is_number_kind(right.kind))
        return compare_numbers(left, right);
    if (left.kind != right.kind)
        return 3;
    switch ((cel_kind)left.kind) {
    case CEL_BOOL:
        return left.boolean - right.boolean;
    case CEL_STRING:
    case CEL_BYTES:
        return compare_texts(left, right);
    case CEL_DURATION:
        return (left.integer > right.integer) - (left.integer < right.integer);
    case CEL_TIMESTAMP:
        return left.integer != right.integer ? (left.integer > right.integer) - (left.integer < right.integer)
                                             : (left.size > right.size) - (left.size < right.size);
    default:
        return 3;
    }
}

cel_value value_order(const cel_call *call, node_operator which, cel_value left, cel_value right) {
    int result = compare(left, right);
    if (result == 3)
        return call_no_overload(call);
    if (result == 2)
        return cel_bool(false);
    return cel_bool(which == OP_LT   ? result < 0
                    : which == OP_LE ? result <= 0
                    : which == OP_GT ? result > 0
                                     : result >= 0);
}

cel_value value_contains(cel_call *call, cel_value element, cel_value container) {
    cel_value ignored;
    if (container.kind == CEL_MAP)
        return cel_bool(value_find(call, container.map, element, &ignored));
    if (container.kind != CEL_LIST)
        return call_no_overload(call);
    effort budget = effort_of(call);
    effort before = budget;
    cel_value maybe = cel_bool(false);
    bool found = false;
    for (uint32_t i = 0; i < container.list->count && !found && spend(&budget, 1); i++) {
        cel_value each = cel_list_at(container.list, i);
        if (each.kind == CEL_STRING && element.kind == CEL_STRING && each.size != element.size)
            continue;
        budget.absent = cel_null();
        found = equal(element, each, 0, &budget);
        if (found && budget.absent.kind != CEL_NULL) {
            maybe = budget.absent;
            found = false;
        }
    }
    effort_done(call, before, budget);
    return found ? cel_bool(true) : maybe;
}
