/* Runs programs. Nothing is allocated but what results need, from the caller's arena; small programs keep
 * their stack on ours. */
#include <string.h>

#include "code.h"

#define SMALL_VALUES 64U
#define SMALL_LOOPS 4U

typedef struct round {
    cel_value range;
    uint32_t index;
    uint32_t count;
    cel_value sum; /* all, exists; exists_one counts in .natural */
    char *items;   /* cel_value or cel_entry */
    uint32_t made;
    uint32_t room;
} round_state;

typedef struct machine {
    const cel_program *program;
    cel_call call;
    cel_value *locals;
    round_state *rounds;
} machine;

static cel_value no_overload(const machine *self) {
    return call_failed(&self->call, CEL_NO_SUCH_OVERLOAD, "no such overload");
}

static cel_value read_variable(const cel_run *run, uint32_t slot) {
    if (slot >= run->count)
        return cel_unknown("a variable that the host does not provide");
    return run->values != NULL ? run->values[slot] : run->get(run->self, slot);
}

/* The absorbing value wins over everything, unknown over error (langdef.md, "Logical Operators"). */
static cel_value both(const machine *self, cel_value left, cel_value right, bool absorbing) {
    if (left.kind == CEL_BOOL && right.kind == CEL_BOOL)
        return left.boolean == absorbing ? left : right;
    if (left.kind == CEL_BOOL && left.boolean == absorbing)
        return left;
    if (right.kind == CEL_BOOL && right.boolean == absorbing)
        return right;
    if (left.kind == CEL_UNKNOWN || (right.kind != CEL_UNKNOWN && left.kind == CEL_ERROR))
        return left;
    if (right.kind >= CEL_UNKNOWN)
        return right;
    return no_overload(self);
}

static cel_value negation(const machine *self, cel_value value) {
    if (value.kind == CEL_BOOL)
        return cel_bool(!value.boolean);
    return value.kind >= CEL_UNKNOWN ? value : no_overload(self);
}

/* ---- Aggregates
 * ------------------------------------------------------------------------------------------------ */

/* `count` items are taken from `items`; those left out are dropped. */
static cel_value make_list(machine *self, const cel_value *items, uint32_t count) {
    const cel_value *absent = first_absent(items, count);
    if (absent != NULL)
        return *absent;
    cel_list *list = cel_call_memory(&self->call, sizeof *list + count * sizeof(cel_value));
    if (list == NULL)
        return cel_null();
    cel_value *kept = (cel_value *)(list + 1);
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].kind != KIND_LEFT_OUT)
            kept[used++] = items[i];
    *list = (cel_list){.count = used, .items = kept};
    return cel_list_of(list);
}

static bool is_key(cel_value key) {
    return key.kind == CEL_BOOL || key.kind == CEL_INT || key.kind == CEL_UINT || key.kind == CEL_STRING;
}

/* Whether `key` is among `map`'s, charging for the search. */
static bool has_key(machine *self, const cel_map *map, cel_value key) {
    cel_value ignored;
    charge(&self->call, 1 + map->count / 8);
    return cel_map_find(map, key, &ignored);
}

static const char *add_entry(machine *self, cel_map *map, cel_entry *entries, cel_value key,
                             cel_value value) {
    if (!is_key(key))
        return "unsupported key type";
    if (has_key(self, map, key))
        return "duplicate key";
    entries[map->count++] = (cel_entry){key, value};
    return NULL;
}

static cel_value make_map(machine *self, const cel_value *items, uint32_t count) {
    const cel_value *absent = first_absent(items, count);
    if (absent != NULL)
        return *absent;
    cel_map *map = cel_call_memory(&self->call, sizeof *map + count / 2 * sizeof(cel_entry));
    if (map == NULL)
        return cel_null();
    cel_entry *entries = (cel_entry *)(map + 1);
    *map = (cel_map){.entries = entries};
    for (uint32_t i = 0; i + 1 < count; i += 2) {
        if (items[i + 1].kind == KIND_LEFT_OUT)
            continue;
        const char *wrong = add_entry(self, map, entries, items[i], items[i + 1]);
        if (wrong != NULL)
            return call_failed(&self->call, wrong[0] == 'd' ? CEL_DUPLICATE_KEY : CEL_NO_SUCH_OVERLOAD,
                               wrong);
    }
    return cel_map_of(map);
}

static cel_value unmark(const machine *self, cel_value value) {
    if (value.kind >= CEL_UNKNOWN)
        return value;
    if (value.kind != CEL_OPTIONAL)
        return no_overload(self);
    static const cel_value LEFT_OUT = {.kind = KIND_LEFT_OUT};
    return value.inner == NULL ? LEFT_OUT : *value.inner;
}

static cel_value make_message(machine *self, const message_site *site, const cel_value *fields) {
    const cel_value *absent = first_absent(fields, site->count);
    if (absent != NULL)
        return *absent;
    if (site->message == NULL)
        return call_failed(&self->call, CEL_NO_SUCH_NAME, "no such message type");
    return wellknown_build(&self->call, site->message, site->numbers, fields, site->count);
}

/* ---- Loops
 * ----------------------------------------------------------------------------------------------------- */

/* False: `*out` is the result already. */
static bool loop_begin(machine *self, const loop_site *loop, cel_value range, cel_value *out) {
    *out = range.kind >= CEL_UNKNOWN
               ? range
               : call_failed(&self->call, CEL_NO_SUCH_OVERLOAD, "a macro goes over a list or map");
    if (range.kind != CEL_LIST && range.kind != CEL_MAP)
        return false;
    self->rounds[loop->depth] = (round_state){
        .range = range,
        .count = range.kind == CEL_LIST ? range.list->count : range.map->count,
        .sum = loop->macro == MACRO_EXISTS_ONE ? cel_uint(0) : cel_bool(loop->macro == MACRO_ALL)};
    return true;
}

static cel_value loop_result(machine *self, const loop_site *loop) {
    round_state *round = &self->rounds[loop->depth];
    if (loop->macro <= MACRO_EXISTS)
        return round->sum;
    if (loop->macro == MACRO_EXISTS_ONE)
        return cel_bool(round->sum.natural == 1);
    if (loop->macro == MACRO_MAP || loop->macro == MACRO_FILTER) {
        cel_list *list = cel_call_memory(&self->call, sizeof *list);
        if (list == NULL)
            return cel_null();
        static const cel_value NOTHING;
        *list = (cel_list){.count = round->made,
                           .items = round->made == 0 ? &NOTHING : (const cel_value *)round->items};
        return cel_list_of(list);
    }
    cel_map *map = cel_call_memory(&self->call, sizeof *map);
    if (map == NULL)
        return cel_null();
    static const cel_entry NO_ENTRY;
    *map = (cel_map){.count = round->made,
                     .entries = round->made == 0 ? &NO_ENTRY : (const cel_entry *)round->items};
    return cel_map_of(map);
}

/* Sets the variables of the next round; false when there is none. */
static bool loop_next(machine *self, const loop_site *loop) {
    round_state *round = &self->rounds[loop->depth];
    if (round->index == round->count)
        return false;
    charge(&self->call, 1 + loop->body);
    cel_value *locals = self->locals + loop->local;
    if (round->range.kind == CEL_LIST) {
        locals[0] = loop->names == 2 ? cel_int(round->index) : cel_list_at(round->range.list, round->index);
        if (loop->names == 2)
            locals[1] = cel_list_at(round->range.list, round->index);
    } else {
        cel_entry entry = cel_map_at(round->range.map, round->index);
        locals[0] = entry.key;
        if (loop->names == 2)
            locals[1] = entry.value;
    }
    round->index++;
    return true;
}

/* Room for one more item of `size`; NULL when memory is used up. */
static void *loop_item(machine *self, round_state *round, size_t size) {
    if (round->made == round->room) {
        uint32_t room = round->room == 0 ? (round->count < 16 ? round->count : 16) : round->room * 2;
        char *items = cel_call_memory(&self->call, room * size);
        if (items == NULL)
            return NULL;
        if (round->made > 0)
            memcpy(items, round->items, round->made * size);
        round->items = items;
        round->room = room;
    }
    return round->items + size * round->made++;
}

static void append_value(machine *self, round_state *round, cel_value value) {
    cel_value *item = loop_item(self, round, sizeof *item);
    if (item != NULL)
        *item = value;
}

/* Adds the entries of one round's map; an error value when a key is there already. */
static cel_value merge(machine *self, round_state *round, cel_value value) {
    if (value.kind != CEL_MAP)
        return no_overload(self);
    for (uint32_t i = 0; i < value.map->count; i++) {
        cel_entry entry = cel_map_at(value.map, i);
        cel_map sofar = {.count = round->made, .entries = (const cel_entry *)round->items};
        if (round->made > 0 && has_key(self, &sofar, entry.key))
            return call_failed(&self->call, CEL_DUPLICATE_KEY, "duplicate key");
        cel_entry *item = loop_item(self, round, sizeof *item);
        if (item == NULL)
            return no_overload(self);
        *item = entry;
    }
    return cel_null();
}

typedef enum progress { GO_ON, GO_END } progress;

/* Takes what the body yielded; GO_END with the macro's result in *out. */
static progress loop_step(machine *self, const loop_site *loop, cel_value value, cel_value *out) {
    round_state *round = &self->rounds[loop->depth];
    *out = value;
    if (loop->macro <= MACRO_EXISTS) {
        bool absorbing = loop->macro == MACRO_EXISTS;
        *out = round->sum = both(self, round->sum, value, absorbing);
        return out->kind == CEL_BOOL && out->boolean == absorbing ? GO_END : GO_ON;
    }
    if (value.kind >= CEL_UNKNOWN)
        return GO_END;
    switch ((node_macro)loop->macro) {
    case MACRO_MAP:
        append_value(self, round, value);
        return GO_ON;
    case MACRO_TRANSFORM_MAP: {
        cel_entry *item = loop_item(self, round, sizeof *item);
        if (item != NULL)
            *item = (cel_entry){self->locals[loop->local], value};
        return GO_ON;
    }
    case MACRO_TRANSFORM_MAP_ENTRY:
        *out = merge(self, round, value);
        return out->kind == CEL_ERROR ? GO_END : GO_ON;
    default:
        break;
    }
    if (value.kind != CEL_BOOL) {
        *out = no_overload(self);
        return GO_END;
    }
    if (value.boolean && loop->macro == MACRO_FILTER)
        append_value(self, round, self->locals[loop->local]);
    else if (value.boolean)
        round->sum.natural++;
    return GO_ON;
}

/* ---- Optionals
 * ------------------------------------------------------------------------------------------------- */

/* A present optional: its content in *out and true. Otherwise false and *out is what the whole yields. */
static bool opened(const machine *self, cel_value value, cel_value *out) {
    *out = value.kind >= CEL_UNKNOWN || value.kind == CEL_OPTIONAL ? value : no_overload(self);
    if (value.kind != CEL_OPTIONAL || value.inner == NULL)
        return false;
    *out = *value.inner;
    return true;
}

/* The analyser cannot know what the compiler has proved: that every value which an instruction takes from the
 * stack was put there. The undefined-behaviour and address sanitizers run over the same code in every test.
 * NOLINTBEGIN(clang-analyzer-core.*) */
static cel_value opt_leave(machine *self, cel_value value, bool must_be) {
    if (value.kind >= CEL_UNKNOWN)
        return value;
    if (must_be)
        return value.kind == CEL_OPTIONAL ? value : no_overload(self);
    return value_optional(&self->call, value);
}

/* ---- The loop
 * -------------------------------------------------------------------------------------------------- */

static bool over(const machine *self) {
    return self->call.stopped || self->call.run->cost > self->call.limit;
}

/* Runs to the end, or until cost or memory is used up (false). */
static bool run(machine *self, cel_value *stack, cel_value *result) {
    const cel_program *program = self->program;
    const instruction *code = program->code;
    cel_value *top = stack - 1; /* the last value */
    cel_value value;
    uint32_t at = 0;
    for (;;) {
        const instruction *now = &code[at];
        self->call.offset = program->offsets[at++];
        switch ((operation)now->code) {
        case CODE_CONSTANT:
            *++top = program->constants[now->c];
            break;
        case CODE_VARIABLE:
            *++top = read_variable(self->call.run, now->c);
            break;
        case CODE_LOCAL:
            *++top = self->locals[now->c];
            break;
        case CODE_STORE:
            self->locals[now->c] = *top--;
            break;
        case CODE_JUMP:
            at = now->c;
            break;
        case CODE_BRANCH:
            value = *top--;
            if (value.kind != CEL_BOOL)
                *++top = value.kind >= CEL_UNKNOWN ? value : no_overload(self);
            else
                at = value.boolean ? at + 1 : now->c;
            break;
        case CODE_AND_JUMP:
        case CODE_OR_JUMP:
            if (top->kind == CEL_BOOL && top->boolean == (now->code == CODE_OR_JUMP))
                at = now->c;
            break;
        case CODE_AND:
        case CODE_OR:
            top--;
            *top = both(self, top[0], top[1], now->code == CODE_OR);
            break;
        case CODE_NOT:
            *top = negation(self, *top);
            break;
        case CODE_NEGATE:
            *top = value_negate(&self->call, *top);
            break;
        case CODE_BINARY:
            top--;
            *top = operate(&self->call, (node_operator)now->a, top[0], top[1]);
            if (over(self))
                return false;
            break;
        case CODE_INDEX:
            top--;
            *top = value_index(&self->call, top[0], top[1], now->a != 0);
            break;
        case CODE_SELECT:
            *top = value_select(&self->call, *top, now, program->constants[now->c]);
            break;
        case CODE_UNMARK:
            *top = unmark(self, *top);
            break;
        case CODE_LIST:
            top -= (int64_t)now->c - 1;
            *top = make_list(self, top, now->c);
            break;
        case CODE_MAP:
            top -= (int64_t)now->c - 1;
            *top = make_map(self, top, now->c);
            break;
        case CODE_STRUCT:
            top -= (int64_t)program->messages[now->c].count - 1;
            *top = make_message(self, &program->messages[now->c], top);
            break;
        case CODE_CALL:
            top -= (int64_t)program->sites[now->c].count - 1;
            *top = call_site_run(&self->call, &program->sites[now->c], top);
            if (over(self))
                return false;
            break;
        case CODE_OR_ELSE:
            if (opened(self, *top, &value))
                *top = now->a != 0 ? value : *top;
            else if (value.kind == CEL_OPTIONAL) {
                top--;
                break;
            } else
                *top = value;
            at = now->c;
            break;
        case CODE_OPT_ENTER:
            if (opened(self, *top, &value)) {
                self->locals[now->b] = value;
                top--;
            } else {
                *top = value;
                at = now->c;
            }
            break;
        case CODE_OPT_LEAVE:
            *top = opt_leave(self, *top, now->a != 0);
            break;
        case CODE_LOOP_BEGIN:
            if (loop_begin(self, &program->loops[now->c], *top, &value)) {
                top--;
            } else {
                *top = value;
                at = program->loops[now->c].end;
            }
            break;
        case CODE_LOOP_NEXT:
            if (over(self))
                return false;
            if (!loop_next(self, &program->loops[now->c])) {
                *++top = loop_result(self, &program->loops[now->c]);
                at = program->loops[now->c].end;
            }
            break;
        case CODE_LOOP_FILTER:
            value = *top--;
            if (value.kind == CEL_BOOL) {
                at = value.boolean ? at : program->loops[now->c].next;
            } else {
                *++top = value.kind >= CEL_UNKNOWN ? value : no_overload(self);
                at = program->loops[now->c].end;
            }
            break;
        case CODE_LOOP_STEP:
            if (loop_step(self, &program->loops[now->c], *top, &value) == GO_ON) {
                top--;
                at = program->loops[now->c].next;
            } else {
                *top = value;
                at = program->loops[now->c].end;
            }
            break;
        case CODE_END:
            *result = *top;
            return !over(self);
        }
    }
}
/* NOLINTEND(clang-analyzer-core.*) */

static status_code stopped(const machine *self, failure *why) {
    if (self->call.stopped)
        return fail(why, STATUS_RESOURCE_EXHAUSTED, "CEL_MEMORY",
                    "the evaluation needs more memory than it may use");
    return fail(why, STATUS_RESOURCE_EXHAUSTED, "CEL_COST",
                "the evaluation was stopped after %llu of %llu units of cost",
                (unsigned long long)self->call.run->cost, (unsigned long long)self->call.limit);
}

status_code cel_evaluate(const cel_program *program, cel_run *given, cel_value *result, failure *why) {
    cel_value values[SMALL_VALUES];
    round_state rounds[SMALL_LOOPS];
    given->cost = program->count;
    machine self = {
        .program = program,
        .rounds = rounds,
        .call = {.run = given, .limit = given->cost_limit == 0 ? CEL_COST_LIMIT : given->cost_limit}};
    cel_value *stack = values;
    if (program->stack + program->locals > SMALL_VALUES)
        stack = cel_call_memory(&self.call, (program->stack + (size_t)program->locals) * sizeof *stack);
    if (program->depth > SMALL_LOOPS)
        self.rounds = cel_call_memory(&self.call, program->depth * sizeof *self.rounds);
    if (self.call.stopped)
        return stopped(&self, why);
    self.locals = stack + program->stack;
    return run(&self, stack, result) ? STATUS_OK : stopped(&self, why);
}
