/* A tree-walking evaluator for the expressions of random_expression.h, written from the language definition
 * and not from the compiler: it resolves names itself and computes in 128 bits. */
#ifndef CEL_REFERENCE_H
#define CEL_REFERENCE_H

#include <stdlib.h>
#include <string.h>

#include "node.h"

typedef struct scope {
    const char *name;
    cel_value value;
    const struct scope *outer;
} scope;

typedef struct reference {
    arena *memory;
    const char *const *names; /* of the variables */
    const cel_value *values;
    uint32_t count;
} reference;

static cel_value walk(reference *self, const node *tree, const scope *names);

static cel_value walk_error(void) {
    return (cel_value){.kind = CEL_ERROR, .text = "reference"};
}

static void *walk_memory(reference *self, size_t size) {
    void *found = arena_alloc(self->memory, size);
    if (found == NULL)
        abort();
    return found;
}

static cel_value walk_list(reference *self, const cel_value *items, uint32_t count) {
    cel_list *list = walk_memory(self, sizeof *list);
    *list = (cel_list){.count = count, .items = items};
    return cel_list_of(list);
}

static bool walk_equal(cel_value left, cel_value right) {
    if (left.kind != right.kind)
        return false;
    if (left.kind == CEL_STRING)
        return left.size == right.size && memcmp(left.text, right.text, left.size) == 0;
    if (left.kind == CEL_LIST) {
        bool same = left.list->count == right.list->count;
        for (uint32_t i = 0; same && i < left.list->count; i++)
            same = walk_equal(left.list->items[i], right.list->items[i]);
        return same;
    }
    if (left.kind != CEL_MAP)
        return left.kind == CEL_NULL ||
               (left.kind == CEL_BOOL ? left.boolean == right.boolean : left.integer == right.integer);
    bool same = left.map->count == right.map->count;
    for (uint32_t i = 0; same && i < left.map->count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < right.map->count; j++)
            found |= walk_equal(left.map->entries[i].key, right.map->entries[j].key) &&
                     walk_equal(left.map->entries[i].value, right.map->entries[j].value);
        same = found;
    }
    return same;
}

static bool walk_find(const cel_map *map, cel_value key, cel_value *out) {
    for (uint32_t i = 0; i < map->count; i++)
        if (walk_equal(map->entries[i].key, key)) {
            *out = map->entries[i].value;
            return true;
        }
    return false;
}

static cel_value walk_number(node_operator which, int64_t left, int64_t right) {
    __int128 result = 0;
    if ((which == OP_DIV || which == OP_MOD) && right == 0)
        return walk_error();
    switch (which) {
    case OP_ADD:
        result = (__int128)left + right;
        break;
    case OP_SUB:
        result = (__int128)left - right;
        break;
    case OP_MUL:
        result = (__int128)left * right;
        break;
    case OP_DIV:
        result = (__int128)left / right;
        break;
    default:
        if (left == INT64_MIN && right == -1) /* the remainder is 0, but computing it overflows */
            return walk_error();
        result = (__int128)left % right;
        break;
    }
    return result < INT64_MIN || result > INT64_MAX ? walk_error() : cel_int((int64_t)result);
}

static cel_value walk_sum(reference *self, cel_value left, cel_value right) {
    if (left.kind == CEL_STRING) {
        char *text = walk_memory(self, (size_t)left.size + right.size + 1);
        memcpy(text, left.text, left.size);
        memcpy(text + left.size, right.text, right.size);
        return cel_text(text, (size_t)left.size + right.size);
    }
    if (left.kind != CEL_LIST)
        return walk_error();
    uint32_t count = left.list->count + right.list->count;
    cel_value *items = walk_memory(self, (count + 1) * sizeof *items);
    for (uint32_t i = 0; i < count; i++)
        items[i] = i < left.list->count ? left.list->items[i] : right.list->items[i - left.list->count];
    return walk_list(self, items, count);
}

static cel_value walk_in(cel_value element, cel_value container) {
    cel_value ignored;
    bool found = false;
    if (container.kind == CEL_MAP)
        return cel_bool(walk_find(container.map, element, &ignored));
    if (container.kind != CEL_LIST)
        return walk_error();
    for (uint32_t i = 0; i < container.list->count; i++)
        found |= walk_equal(element, container.list->items[i]);
    return cel_bool(found);
}

static cel_value walk_order(node_operator which, cel_value left, cel_value right) {
    int order = 0;
    if (left.kind != right.kind)
        return walk_error();
    if (left.kind == CEL_STRING) {
        order = memcmp(left.text, right.text, left.size < right.size ? left.size : right.size);
        if (order == 0)
            order = left.size < right.size ? -1 : left.size > right.size;
    } else if (left.kind == CEL_INT) {
        order = left.integer < right.integer ? -1 : left.integer > right.integer;
    } else if (left.kind == CEL_BOOL) {
        order = (int)left.boolean - (int)right.boolean;
    } else {
        return walk_error();
    }
    return cel_bool(which == OP_LT   ? order < 0
                    : which == OP_LE ? order <= 0
                    : which == OP_GT ? order > 0
                                     : order >= 0);
}

static cel_value walk_binary(reference *self, const node *tree, const scope *names) {
    node_operator which = (node_operator)tree->detail;
    cel_value left = walk(self, tree->children[0], names);
    cel_value right = walk(self, tree->children[1], names);
    if (left.kind == CEL_UNKNOWN || (left.kind == CEL_ERROR && right.kind != CEL_UNKNOWN))
        return left;
    if (right.kind == CEL_UNKNOWN || right.kind == CEL_ERROR)
        return right;
    if (which == OP_EQ || which == OP_NE)
        return cel_bool(walk_equal(left, right) == (which == OP_EQ));
    if (which == OP_IN)
        return walk_in(left, right);
    if (which <= OP_GE)
        return walk_order(which, left, right);
    if (left.kind != right.kind)
        return walk_error();
    if (left.kind == CEL_INT)
        return walk_number(which, left.integer, right.integer);
    return which == OP_ADD ? walk_sum(self, left, right) : walk_error();
}

/* n-ary && and ||: the absorbing value wherever it stands, then unknown, then error. */
static cel_value walk_combine(cel_value sofar, cel_value next, bool absorbing) {
    bool a = sofar.kind == CEL_BOOL;
    bool b = next.kind == CEL_BOOL;
    if (a && sofar.boolean == absorbing)
        return sofar;
    if (b && next.boolean == absorbing)
        return next;
    if (a && b)
        return cel_bool(!absorbing);
    if (sofar.kind == CEL_UNKNOWN || next.kind == CEL_UNKNOWN)
        return sofar.kind == CEL_UNKNOWN ? sofar : next;
    return walk_error();
}

static cel_value walk_logical(reference *self, const node *tree, const scope *names) {
    cel_value sofar = walk(self, tree->children[0], names);
    for (uint32_t i = 1; i < tree->count; i++)
        sofar = walk_combine(sofar, walk(self, tree->children[i], names), tree->kind == NODE_OR);
    return sofar;
}

static cel_value walk_condition(reference *self, const node *tree, const scope *names) {
    cel_value test = walk(self, tree->children[0], names);
    if (test.kind == CEL_UNKNOWN)
        return test;
    return test.kind != CEL_BOOL ? walk_error() : walk(self, tree->children[test.boolean ? 1 : 2], names);
}

static cel_value walk_strict(reference *self, const node *tree, const scope *names, cel_value *items) {
    cel_value absent = cel_null();
    for (uint32_t i = 0; i < tree->count; i++) {
        items[i] = walk(self, tree->children[i], names);
        if (items[i].kind == CEL_UNKNOWN && absent.kind != CEL_UNKNOWN)
            absent = items[i];
        else if (items[i].kind == CEL_ERROR && absent.kind == CEL_NULL)
            absent = items[i];
    }
    return absent;
}

static cel_value walk_map(reference *self, const node *tree, const scope *names) {
    cel_value *items = walk_memory(self, (tree->count + 1) * sizeof *items);
    cel_value absent = walk_strict(self, tree, names, items);
    if (absent.kind != CEL_NULL)
        return absent;
    cel_map *map = walk_memory(self, sizeof *map);
    cel_entry *entries = walk_memory(self, (tree->count + 1) * sizeof *entries);
    *map = (cel_map){.entries = entries};
    for (uint32_t i = 0; i + 1 < tree->count; i += 2) {
        cel_value ignored;
        cel_kind kind = (cel_kind)items[i].kind;
        if ((kind != CEL_STRING && kind != CEL_INT && kind != CEL_BOOL) || walk_find(map, items[i], &ignored))
            return walk_error();
        entries[map->count++] = (cel_entry){items[i], items[i + 1]};
    }
    return cel_map_of(map);
}

static cel_value walk_index(cel_value container, cel_value key) {
    cel_value found;
    if (container.kind == CEL_MAP)
        return walk_find(container.map, key, &found) ? found : walk_error();
    if (container.kind != CEL_LIST || key.kind != CEL_INT || key.integer < 0 ||
        key.integer >= container.list->count)
        return walk_error();
    return container.list->items[key.integer];
}

static cel_value walk_select(reference *self, const node *tree, const scope *names) {
    cel_value operand = walk(self, tree->children[0], names);
    cel_value found;
    if (operand.kind == CEL_UNKNOWN || operand.kind == CEL_ERROR)
        return operand;
    if (operand.kind != CEL_MAP)
        return walk_error();
    bool has = walk_find(operand.map, cel_text(tree->name, strlen(tree->name)), &found);
    return tree->kind == NODE_HAS ? cel_bool(has) : has ? found : walk_error();
}

static cel_value walk_size(cel_value value) {
    int64_t count = 0;
    if (value.kind == CEL_UNKNOWN || value.kind == CEL_ERROR)
        return value;
    if (value.kind == CEL_LIST)
        return cel_int(value.list->count);
    if (value.kind == CEL_MAP)
        return cel_int(value.map->count);
    if (value.kind != CEL_STRING)
        return walk_error();
    for (uint32_t i = 0; i < value.size; i++)
        count += (value.text[i] & 0xC0) != 0x80;
    return cel_int(count);
}

/* What one element does to the sum so far; *end when the macro is decided. */
static void walk_round(reference *self, const node *tree, cel_value element, const scope *inside,
                       cel_value *sum, cel_value *items, uint32_t *made, bool *end) {
    bool filtered = tree->detail == MACRO_MAP && tree->count == 3;
    cel_value yes = filtered ? walk(self, tree->children[1], inside) : cel_bool(true);
    cel_value value =
        yes.kind == CEL_BOOL && yes.boolean ? walk(self, tree->children[tree->count - 1], inside) : yes;
    if (tree->detail == MACRO_ALL || tree->detail == MACRO_EXISTS) {
        *sum = walk_combine(*sum, value, tree->detail == MACRO_EXISTS);
        *end = sum->kind == CEL_BOOL && sum->boolean == (tree->detail == MACRO_EXISTS);
        return;
    }
    bool wrong = (filtered && yes.kind != CEL_BOOL) || (tree->detail != MACRO_MAP && value.kind != CEL_BOOL);
    if (value.kind == CEL_UNKNOWN || value.kind == CEL_ERROR || wrong) {
        *sum = value.kind == CEL_UNKNOWN ? value : walk_error();
        *end = true;
    } else if (tree->detail == MACRO_MAP && yes.boolean) {
        items[(*made)++] = value;
    } else if (tree->detail != MACRO_MAP && value.boolean) {
        items[(*made)++] = element;
    }
}

static cel_value walk_macro(reference *self, const node *tree, const scope *names) {
    cel_value range = walk(self, tree->children[0], names);
    scope inside = {.name = tree->names[0], .value = range, .outer = names};
    if (tree->detail == MACRO_BIND)
        return walk(self, tree->children[1], &inside);
    if (range.kind == CEL_UNKNOWN || range.kind == CEL_ERROR)
        return range;
    if (range.kind != CEL_LIST && range.kind != CEL_MAP)
        return walk_error();
    uint32_t count = range.kind == CEL_LIST ? range.list->count : range.map->count;
    cel_value *items = walk_memory(self, (count + 1) * sizeof *items);
    cel_value sum = cel_bool(tree->detail == MACRO_ALL);
    uint32_t made = 0;
    bool end = false;
    for (uint32_t i = 0; i < count && !end; i++) {
        inside.value = range.kind == CEL_LIST ? range.list->items[i] : range.map->entries[i].key;
        walk_round(self, tree, inside.value, &inside, &sum, items, &made, &end);
    }
    if (end || tree->detail == MACRO_ALL || tree->detail == MACRO_EXISTS)
        return sum;
    return tree->detail == MACRO_EXISTS_ONE ? cel_bool(made == 1) : walk_list(self, items, made);
}

static cel_value walk_name(const reference *self, const node *tree, const scope *names) {
    for (; names != NULL; names = names->outer)
        if (strcmp(names->name, tree->name) == 0)
            return names->value;
    for (uint32_t i = 0; i < self->count; i++)
        if (strcmp(self->names[i], tree->name) == 0)
            return self->values[i];
    return walk_error();
}

static cel_value walk_list_literal(reference *self, const node *tree, const scope *names) {
    cel_value *items = walk_memory(self, (tree->count + 1) * sizeof *items);
    cel_value absent = walk_strict(self, tree, names, items);
    return absent.kind != CEL_NULL ? absent : walk_list(self, items, tree->count);
}

static cel_value walk_pair(reference *self, const node *tree, const scope *names) {
    cel_value pair[2];
    cel_value absent = walk_strict(self, tree, names, pair);
    return absent.kind != CEL_NULL ? absent : walk_index(pair[0], pair[1]);
}

static cel_value walk_sign(cel_value value, bool is_not) {
    if (value.kind == CEL_UNKNOWN || value.kind == CEL_ERROR)
        return value;
    if (is_not)
        return value.kind == CEL_BOOL ? cel_bool(!value.boolean) : walk_error();
    return value.kind == CEL_INT ? walk_number(OP_SUB, 0, value.integer) : walk_error();
}

static cel_value walk(reference *self, const node *tree, const scope *names) {
    switch ((node_kind)tree->kind) {
    case NODE_LITERAL:
        return tree->value;
    case NODE_IDENTIFIER:
        return walk_name(self, tree, names);
    case NODE_SELECT:
    case NODE_HAS:
        return walk_select(self, tree, names);
    case NODE_CALL: /* only size() */
        return walk_size(walk(self, tree->children[0], names));
    case NODE_NOT:
    case NODE_NEGATE:
        return walk_sign(walk(self, tree->children[0], names), tree->kind == NODE_NOT);
    case NODE_BINARY:
        return walk_binary(self, tree, names);
    case NODE_AND:
    case NODE_OR:
        return walk_logical(self, tree, names);
    case NODE_CONDITION:
        return walk_condition(self, tree, names);
    case NODE_INDEX:
        return walk_pair(self, tree, names);
    case NODE_LIST:
        return walk_list_literal(self, tree, names);
    case NODE_MAP:
        return walk_map(self, tree, names);
    case NODE_MACRO:
        return walk_macro(self, tree, names);
    case NODE_STRUCT:
        break;
    }
    return walk_error();
}

#endif
