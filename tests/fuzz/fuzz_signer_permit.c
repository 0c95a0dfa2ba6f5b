/* A hostile SignPermit. Audit's checkpoint is put behind it when the input leaves it out: signed here over a
 * tree of just its leaf, so that the leaf's and the record's checks are reached. */
#include <stdlib.h>
#include <string.h>

#include "crypto/dsse.h"
#include "interlock/signer/v1/signer.pb-c.h"
#include "notes.h"
#include "permit.h"
#include "wire/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static simulated_chance world;
static secret_key *checkpoint_key;
static trust roots;
static arena memory;
static notes kept;

static void prepare(void) {
    failure why = {0};
    crypto_init();
    simulated_chance_init(&world, 1);
    if (secret_key_generate(&world.chance, KEY_CHECKPOINT, &checkpoint_key, &why) != STATUS_OK)
        abort();
    memcpy(roots.installation, "demo", 5);
    memcpy(roots.origin, "demo/log", 9);
    roots.count = 2;
    roots.keys[0].purpose = KEY_CHECKPOINT;
    roots.keys[0].key = *secret_key_public(checkpoint_key);
    roots.keys[1].purpose = KEY_RECORD;
    memcpy(roots.keys[1].principal, "service/policy", 15);
    memset(roots.keys[1].key.keyid, '0', CRYPTO_KEYID_CHARS);
    arena_init(&memory, 65536, 32U << 20);
    notes_init(&kept, &roots);
}

static void put_checkpoint(Interlock__Audit__V1__Receipt *receipt) {
    buffer note;
    failure why = {0};
    checkpoint tree = {.origin = "demo/log", .size = 1};
    merkle_leaf_hash(bytes_of(receipt->leaf.data, receipt->leaf.len), &tree.root);
    buffer_init(&note, NOTE_MAX_BYTES);
    if (checkpoint_sign(&tree, checkpoint_key, &note, &why) == STATUS_OK)
        receipt->checkpoint = arena_text(&memory, note.data);
    buffer_free(&note);
}

/* The commitment of a leaf cannot be guessed by mutation: a salt of 32 bytes 0xff asks for the right one. */
static void put_commitment(Interlock__Audit__V1__Receipt *receipt,
                           const Interlock__Common__V1__Envelope *record) {
    uint8_t inner[CRYPTO_HASH_BYTES], outer[CRYPTO_HASH_BYTES];
    ProtobufCMessage *message = NULL;
    bytes leaf_bytes;
    failure why = {0};
    if (receipt->salt.len != 32 || receipt->salt.data[0] != 0xff ||
        wire_unpack(&interlock__audit__v1__leaf__descriptor, bytes_of(receipt->leaf.data, receipt->leaf.len),
                    &memory, &message, &why) != STATUS_OK)
        return;
    Interlock__Audit__V1__Leaf *leaf = (Interlock__Audit__V1__Leaf *)message;
    sha256_two(bytes_of(PAYLOAD_DECISION, sizeof PAYLOAD_DECISION),
               bytes_of(record->payload.data, record->payload.len), inner);
    sha256_two(bytes_of(receipt->salt.data, 32), bytes_of(inner, sizeof inner), outer);
    leaf->commitment.data = outer;
    leaf->commitment.len = sizeof outer;
    if (wire_pack(&leaf->base, &memory, &leaf_bytes, &why) != STATUS_OK)
        return;
    receipt->leaf.data = arena_copy(&memory, leaf_bytes.data, leaf_bytes.size);
    receipt->leaf.len = receipt->leaf.data == NULL ? 0 : leaf_bytes.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (checkpoint_key == NULL)
        prepare();
    arena_reset(&memory);
    ProtobufCMessage *message = NULL;
    failure why = {0};
    if (wire_unpack(&interlock__signer__v1__sign_permit__descriptor, bytes_of(data, size), &memory, &message,
                    &why) != STATUS_OK)
        return 0;
    Interlock__Signer__V1__SignPermit *request = (Interlock__Signer__V1__SignPermit *)message;
    if (request->receipt == NULL || request->record == NULL)
        return 0;
    put_commitment(request->receipt, request->record);
    if (request->receipt->checkpoint[0] == '\0')
        put_checkpoint(request->receipt);
    checkpoint tree;
    const Interlock__Policy__V1__PermitClaims *claims = NULL;
    if (notes_verify(&kept, bytes_of_text(request->receipt->checkpoint), &tree, &why) != STATUS_OK ||
        permit_check(&roots, &tree, request->receipt, request->record, false, &memory, &claims, &why) !=
            STATUS_OK)
        return 0;
    buffer json;
    buffer_init(&json, PERMIT_CLAIMS_BYTES);
    permit_claims_write(claims, request->receipt->index, &json);
    if (!buffer_ok(&json)) /* what was checked fits */
        abort();
    buffer_free(&json);
    return 0;
}
