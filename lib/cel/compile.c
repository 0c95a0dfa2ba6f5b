/* From a checked tree to instructions. */
#include <string.h>

#include "code.h"
#include "prepare.h"

typedef struct array {
    void *items;
    uint32_t count;
    uint32_t room;
} array;

typedef struct compiler {
    const cel_environment *environment;
    arena *scratch;
    cel_program *program;
    array code;
    array offsets;
    array constants;
    array sites;
    array messages;
    array loops;
    uint64_t *reads;
    uint32_t stack; /* values now */
    uint32_t stack_most;
    uint32_t locals;
    uint32_t depth;
    uint32_t depth_most;
    bool failed;
    uint64_t sink[8]; /* what is written after a failure goes here */
} compiler;

/* ---- Emitting
 * -------------------------------------------------------------------------------------------------- */

/* A new item at the end of an array in the scratch arena. */
static void *push(compiler *self, array *list, size_t size) {
    if (list->count == list->room) {
        uint32_t room = list->room == 0 ? 16 : list->room * 2;
        char *items = arena_zero(self->scratch, room, size);
        if (items == NULL) {
            self->failed = true;
            return self->sink;
        }
        if (list->count > 0)
            memcpy(items, list->items, list->count * size);
        list->items = items;
        list->room = room;
    }
    return (char *)list->items + size * list->count++;
}

static uint32_t emit(compiler *self, operation code, uint8_t a, uint32_t c, uint32_t offset) {
    instruction *made = push(self, &self->code, sizeof *made);
    *made = (instruction){.code = (uint8_t)code, .a = a, .c = c};
    uint32_t *place = push(self, &self->offsets, sizeof *place);
    *place = offset;
    return self->code.count - 1;
}

static instruction *at(const compiler *self, uint32_t index) {
    return (instruction *)self->code.items + index;
}

static void land(const compiler *self, uint32_t jump) {
    if (!self->failed)
        at(self, jump)->c = self->code.count;
}

static void grew(compiler *self, int by) {
    self->stack = (uint32_t)((int)self->stack + by);
    if (self->stack > self->stack_most)
        self->stack_most = self->stack;
}

static uint32_t constant(compiler *self, cel_value value) {
    cel_value *made = push(self, &self->constants, sizeof *made);
    *made = value;
    return self->constants.count - 1;
}

static void emit_constant(compiler *self, cel_value value, uint32_t offset) {
    emit(self, CODE_CONSTANT, 0, constant(self, value), offset);
    grew(self, 1);
}

static void emit_error(compiler *self, const node *tree, const char *format) {
    const char *text = arena_format(&self->program->memory, format, tree->name);
    emit_constant(self,
                  (cel_value){.kind = CEL_ERROR,
                              .reason = CEL_NO_SUCH_NAME,
                              .size = tree->offset,
                              .text = text == NULL ? "" : text},
                  tree->offset);
}

static void compile(compiler *self, const node *tree);

/* ---- Constants
 * ------------------------------------------------------------------------------------------------- */

static bool fold(compiler *self, const node *tree, cel_value *out);

static bool fold_list(compiler *self, const node *tree, cel_value *out) {
    cel_value *items = arena_alloc(&self->program->memory, (tree->count + 1) * sizeof *items);
    cel_list *list = arena_alloc(&self->program->memory, sizeof *list);
    if (items == NULL || list == NULL)
        return false;
    for (uint32_t i = 0; i < tree->count; i++)
        if (!fold(self, tree->children[i], &items[i]))
            return false;
    *list = (cel_list){.count = tree->count, .items = items};
    *out = cel_list_of(list);
    return true;
}

/* Functions of one constant text that are worth doing once. */
static bool fold_call(compiler *self, const node *tree, cel_value *out) {
    static const char *const NAMES[] = {"timestamp", "duration", "ip", "cidr"};
    cel_value argument;
    bool known = false;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        known |= strcmp(tree->name, NAMES[i]) == 0;
    if (!known || tree->member || tree->count != 1 || tree->overload_count == 0 ||
        tree->children[0]->kind != NODE_LITERAL || !fold(self, tree->children[0], &argument) ||
        argument.kind != CEL_STRING)
        return false;
    cel_run run = {.memory = &self->program->memory};
    cel_call call = {.run = &run, .limit = UINT64_MAX};
    call_site site = {.overloads = tree->overloads, .overload_count = tree->overload_count, .count = 1};
    *out = call_site_run(&call, &site, &argument);
    return !call.stopped && out->kind < CEL_UNKNOWN;
}

/* The value of a literal, a list of constants or a constant date; false when it must be evaluated. Values
 * live with the program. */
static bool fold(compiler *self, const node *tree, cel_value *out) {
    if (tree->kind == NODE_LIST && tree->marks == NULL)
        return fold_list(self, tree, out);
    if (tree->kind == NODE_CALL)
        return fold_call(self, tree, out);
    if (tree->kind != NODE_LITERAL)
        return false;
    *out = tree->value;
    if (out->kind != CEL_STRING && out->kind != CEL_BYTES)
        return true;
    out->text = arena_copy(&self->program->memory, out->text, out->size);
    return out->text != NULL;
}

/* ---- Names and fields
 * ------------------------------------------------------------------------------------------ */

/* True when the node is a name, which is emitted then. */
static bool compile_name(compiler *self, const node *tree) {
    switch ((node_meaning)tree->meaning) {
    case MEANS_LOCAL:
        emit(self, CODE_LOCAL, 0, tree->slot, tree->offset);
        grew(self, 1);
        return true;
    case MEANS_VARIABLE:
        emit(self, CODE_VARIABLE, 0, tree->slot, tree->offset);
        self->reads[tree->slot / 64] |= UINT64_C(1) << tree->slot % 64;
        grew(self, 1);
        return true;
    case MEANS_TYPE: {
        size_t size = strlen(tree->text);
        const char *name = arena_copy(&self->program->memory, tree->text, size + 1);
        self->failed |= name == NULL;
        emit_constant(self, (cel_value){.kind = CEL_TYPE, .size = (uint32_t)size, .text = name},
                      tree->offset);
        return true;
    }
    case MEANS_UNKNOWN:
        emit_error(self, tree, "undeclared reference to '%s'");
        return true;
    default:
        return false;
    }
}

static void compile_select(compiler *self, const node *tree) {
    if (compile_name(self, tree))
        return;
    compile(self, tree->children[0]);
    size_t size = strlen(tree->name);
    /* A declared field's own name, which outlives the program, is compared by its address when it is read. */
    const char *name =
        tree->meaning == MEANS_FIELD ? tree->text : arena_copy(&self->program->memory, tree->name, size + 1);
    self->failed |= name == NULL;
    uint8_t how =
        (uint8_t)((tree->kind == NODE_HAS ? SELECT_HAS : 0) | (tree->optional ? SELECT_OPTIONAL : 0) |
                  (tree->meaning == MEANS_FIELD ? SELECT_FIELD : 0));
    uint32_t index = emit(self, CODE_SELECT, how, constant(self, cel_text(name, size)), tree->offset);
    if (!self->failed)
        at(self, index)->b = (uint16_t)tree->slot;
}

/* ---- Calls
 * ----------------------------------------------------------------------------------------------------- */

/* or() and orValue() evaluate their argument only when there is no value. */
static bool compile_or(compiler *self, const node *tree) {
    bool unwrap = strcmp(tree->name, "orValue") == 0;
    if (!tree->member || tree->namespaced || tree->count != 2 || (!unwrap && strcmp(tree->name, "or") != 0))
        return false;
    compile(self, tree->children[0]);
    uint32_t jump = emit(self, CODE_OR_ELSE, unwrap, 0, tree->offset);
    grew(self, -1);
    compile(self, tree->children[1]);
    if (!unwrap)
        emit(self, CODE_OPT_LEAVE, 1, 0, tree->offset);
    land(self, jump);
    return true;
}

static const overload **keep_overloads(compiler *self, const node *tree) {
    const overload **kept =
        arena_alloc(&self->program->memory, (tree->overload_count + 1) * sizeof(const overload *));
    overload *copies = arena_alloc(&self->program->memory, (tree->overload_count + 1) * sizeof *copies);
    if (kept == NULL || copies == NULL) {
        self->failed = true;
        return NULL;
    }
    for (uint32_t i = 0; i < tree->overload_count; i++) {
        copies[i] = *tree->overloads[i];
        kept[i] = &copies[i];
    }
    return kept;
}

static void compile_call(compiler *self, const node *tree) {
    cel_value folded;
    if (fold(self, tree, &folded)) {
        emit_constant(self, folded, tree->offset);
        return;
    }
    if (tree->overload_count == 0) {
        emit_error(self, tree, "no such overload: %s");
        return;
    }
    if (compile_or(self, tree))
        return;
    uint32_t first = tree->namespaced ? 1 : 0;
    for (uint32_t i = first; i < tree->count; i++)
        compile(self, tree->children[i]);
    call_site *site = push(self, &self->sites, sizeof *site);
    *site = (call_site){.overload_count = tree->overload_count,
                        .count = tree->count - first,
                        .overloads = keep_overloads(self, tree)};
    if (!self->failed)
        site->prepared = prepare_call(self->program, tree);
    emit(self, CODE_CALL, 0, self->sites.count - 1, tree->offset);
    grew(self, 1 - (int)site->count);
}

static void compile_operands(compiler *self, const node *tree, operation code, uint8_t a) {
    for (uint32_t i = 0; i < tree->count; i++)
        compile(self, tree->children[i]);
    emit(self, code, a, 0, tree->offset);
    grew(self, 1 - (int)tree->count);
}

static void compile_logical(compiler *self, const node *tree) {
    bool is_and = tree->kind == NODE_AND;
    uint32_t *jumps = arena_alloc(self->scratch, tree->count * sizeof *jumps);
    if (jumps == NULL) {
        self->failed = true;
        return;
    }
    for (uint32_t i = 0; i < tree->count; i++) {
        compile(self, tree->children[i]);
        if (i > 0) {
            emit(self, is_and ? CODE_AND : CODE_OR, 0, 0, tree->children[i]->offset);
            grew(self, -1);
        }
        jumps[i] = i + 1 < tree->count
                       ? emit(self, is_and ? CODE_AND_JUMP : CODE_OR_JUMP, 0, 0, tree->children[i]->offset)
                       : 0;
    }
    for (uint32_t i = 0; i + 1 < tree->count; i++)
        land(self, jumps[i]);
}

static void compile_condition(compiler *self, const node *tree) {
    compile(self, tree->children[0]);
    uint32_t branch = emit(self, CODE_BRANCH, 0, 0, tree->children[0]->offset);
    uint32_t wrong = emit(self, CODE_JUMP, 0, 0, tree->offset);
    grew(self, -1);
    compile(self, tree->children[1]);
    uint32_t done = emit(self, CODE_JUMP, 0, 0, tree->offset);
    grew(self, -1);
    land(self, branch);
    compile(self, tree->children[2]);
    land(self, wrong);
    land(self, done);
}

/* ---- Aggregates
 * ------------------------------------------------------------------------------------------------ */

static void compile_aggregate(compiler *self, const node *tree) {
    cel_value folded;
    if (tree->kind == NODE_LIST && fold(self, tree, &folded)) {
        emit_constant(self, folded, tree->offset);
        return;
    }
    for (uint32_t i = 0; i < tree->count; i++) {
        compile(self, tree->children[i]);
        bool value = tree->kind != NODE_MAP || i % 2 == 1;
        if (value && tree->marks != NULL && tree->marks[i])
            emit(self, CODE_UNMARK, 0, 0, tree->children[i]->offset);
    }
    uint32_t count = tree->count;
    if (tree->kind == NODE_STRUCT) {
        uint8_t *numbers = arena_zero(&self->program->memory, count + 1, 1);
        for (uint32_t i = 0; i < count && numbers != NULL; i++) {
            uint32_t index = 255;
            const cel_type *ignored = NULL;
            if (tree->text != NULL &&
                wellknown_field((const wellknown *)tree->text, tree->names[i], &index, &ignored))
                numbers[i] = (uint8_t)index;
            else
                numbers[i] = 255;
        }
        message_site *site = push(self, &self->messages, sizeof *site);
        *site = (message_site){(const wellknown *)tree->text, numbers, count};
        self->failed |= numbers == NULL;
    }
    emit(self,
         tree->kind == NODE_LIST  ? CODE_LIST
         : tree->kind == NODE_MAP ? CODE_MAP
                                  : CODE_STRUCT,
         0, tree->kind == NODE_STRUCT ? self->messages.count - 1 : count, tree->offset);
    grew(self, 1 - (int)count);
}

/* ---- Macros
 * ---------------------------------------------------------------------------------------------------- */

static void need_locals(compiler *self, const node *tree) {
    if (tree->locals + tree->names_count > self->locals)
        self->locals = tree->locals + tree->names_count;
}

static void compile_bind(compiler *self, const node *tree) {
    compile(self, tree->children[0]);
    emit(self, CODE_STORE, 0, tree->locals, tree->offset);
    grew(self, -1);
    compile(self, tree->children[1]);
}

static void compile_opt_map(compiler *self, const node *tree) {
    compile(self, tree->children[0]);
    uint32_t enter = emit(self, CODE_OPT_ENTER, 0, 0, tree->offset);
    if (!self->failed)
        at(self, enter)->b = (uint16_t)tree->locals;
    grew(self, -1);
    compile(self, tree->children[1]);
    emit(self, CODE_OPT_LEAVE, tree->detail == MACRO_OPT_FLAT_MAP, 0, tree->offset);
    land(self, enter);
}

static void compile_loop(compiler *self, const node *tree) {
    compile(self, tree->children[0]);
    uint32_t number = self->loops.count;
    loop_site *loop = push(self, &self->loops, sizeof *loop);
    *loop = (loop_site){.macro = tree->detail,
                        .names = (uint8_t)tree->names_count,
                        .local = tree->locals,
                        .depth = self->depth++};
    if (self->depth > self->depth_most)
        self->depth_most = self->depth;
    emit(self, CODE_LOOP_BEGIN, 0, number, tree->offset);
    grew(self, -1);
    uint32_t next = emit(self, CODE_LOOP_NEXT, 0, number, tree->offset);
    for (uint32_t i = 1; i < tree->count; i++) {
        compile(self, tree->children[i]);
        emit(self, i + 1 < tree->count ? CODE_LOOP_FILTER : CODE_LOOP_STEP, 0, number,
             tree->children[i]->offset);
        grew(self, -1);
    }
    self->depth--;
    grew(self, 1);
    if (self->failed)
        return;
    loop = (loop_site *)self->loops.items + number;
    loop->next = next;
    loop->end = self->code.count;
    loop->body = self->code.count - next;
}

static void compile_macro(compiler *self, const node *tree) {
    need_locals(self, tree);
    if (tree->detail == MACRO_BIND)
        compile_bind(self, tree);
    else if (tree->detail == MACRO_OPT_MAP || tree->detail == MACRO_OPT_FLAT_MAP)
        compile_opt_map(self, tree);
    else
        compile_loop(self, tree);
}

static void compile(compiler *self, const node *tree) {
    cel_value value;
    if (self->failed)
        return;
    switch ((node_kind)tree->kind) {
    case NODE_LITERAL:
        if (fold(self, tree, &value))
            emit_constant(self, value, tree->offset);
        else
            self->failed = true;
        return;
    case NODE_IDENTIFIER:
        compile_name(self, tree);
        return;
    case NODE_SELECT:
    case NODE_HAS:
        compile_select(self, tree);
        return;
    case NODE_CALL:
        compile_call(self, tree);
        return;
    case NODE_NOT:
        compile_operands(self, tree, CODE_NOT, 0);
        return;
    case NODE_NEGATE:
        compile_operands(self, tree, CODE_NEGATE, 0);
        return;
    case NODE_BINARY:
        compile_operands(self, tree, CODE_BINARY, tree->detail);
        return;
    case NODE_INDEX:
        compile_operands(self, tree, CODE_INDEX, tree->optional);
        return;
    case NODE_AND:
    case NODE_OR:
        compile_logical(self, tree);
        return;
    case NODE_CONDITION:
        compile_condition(self, tree);
        return;
    case NODE_LIST:
    case NODE_MAP:
    case NODE_STRUCT:
        compile_aggregate(self, tree);
        return;
    case NODE_MACRO:
        compile_macro(self, tree);
        return;
    }
}

/* ---- Programs
 * -------------------------------------------------------------------------------------------------- */

static const void *keep(compiler *self, const array *list, size_t size) {
    const void *copy =
        list->count == 0 ? "" : arena_copy(&self->program->memory, list->items, list->count * size);
    self->failed |= copy == NULL;
    return copy;
}

static const cel_type *keep_type(compiler *self, const cel_type *type) {
    cel_type *copy = arena_copy(&self->program->memory, type, sizeof *type);
    if (copy == NULL) {
        self->failed = true;
        return &cel_type_dyn;
    }
    copy->name = arena_text(&self->program->memory, type->name);
    self->failed |= copy->name == NULL;
    for (uint32_t i = 0; i < type->count; i++)
        copy->parameters[i] = keep_type(self, type->parameters[i]);
    return copy;
}

static void finish(compiler *self, bytes source, const cel_type *type) {
    cel_program *out = self->program;
    out->code = keep(self, &self->code, sizeof(instruction));
    out->offsets = keep(self, &self->offsets, sizeof(uint32_t));
    out->count = self->code.count;
    out->constants = keep(self, &self->constants, sizeof(cel_value));
    out->sites = keep(self, &self->sites, sizeof(call_site));
    out->messages = keep(self, &self->messages, sizeof(message_site));
    out->loops = keep(self, &self->loops, sizeof(loop_site));
    out->stack = self->stack_most + 1;
    out->locals = self->locals;
    out->depth = self->depth_most;
    out->reads = self->reads;
    out->type = keep_type(self, type);
    out->source = arena_copy(&out->memory, source.data, source.size);
    out->source_size = (uint32_t)source.size;
    self->failed |= out->source == NULL;
}

bool generate(const cel_environment *environment, arena *scratch, bytes source, const node *tree,
              const cel_type *type, cel_program *out) {
    uint32_t variables = cel_environment_variables(environment);
    compiler self = {.environment = environment, .scratch = scratch, .program = out};
    self.reads = arena_zero(&out->memory, variables / 64 + 1, sizeof(uint64_t));
    if (self.reads == NULL)
        return false;
    out->variables = variables;
    compile(&self, tree);
    emit(&self, CODE_END, 0, 0, 0);
    finish(&self, source, type);
    return !self.failed;
}
