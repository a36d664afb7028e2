/*
 * Makes one development key inside a PKCS#11 token, or proves the one that is there.
 *
 *   keygen MODULE TOKEN-LABEL PIN-FILE rsa2048|p256|hmac256 KEY-LABEL [LACK]...
 *
 * A LACK is an attribute that the module does not have, for the few that are known for it: "mechanisms"
 * where a key cannot be bound to one mechanism, "origin" where the module does not say that it made a key.
 *
 * Prints "made" or "kept" and exits 0 only after the key was read back from the token and found to be
 * what a signing key has to be: generated there, sensitive since then, never extractable, and good for
 * signing and nothing else.
 *
 * Why a program: pkcs11-tool cannot say "not for decryption", and SoftHSM takes every use that is not
 * named in the template for allowed. Why C: the set-up runs before anything of ours is built, and a C
 * compiler is there because two of our dependencies need one. Development only; it is never installed.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The few names of PKCS#11 2.40 that are used here, under the standard's numbers. */
typedef unsigned long ulong_t;
typedef struct { ulong_t type; void *value; ulong_t length; } attribute_t;
typedef struct { ulong_t mechanism; void *parameter; ulong_t length; } mechanism_t;
typedef struct {
    unsigned char label[32], manufacturer[32], model[16], serial[16];
    unsigned char rest[256]; /* flags, counters, versions: not looked at */
} token_info_t;

enum { CKU_USER = 1, CKF_RW_SESSION = 2, CKF_SERIAL_SESSION = 4, CKF_OS_LOCKING_OK = 2 };
enum { CKO_PRIVATE_KEY = 3, CKO_SECRET_KEY = 4 };
enum { CKM_RSA_KEY_PAIR = 0x0, CKM_RSA_PSS = 0xD, CKM_SHA256_HMAC = 0x251, CKM_GENERIC_SECRET = 0x350,
       CKM_EC_KEY_PAIR = 0x1040, CKM_ECDSA = 0x1041 };
enum { CKA_CLASS = 0x0, CKA_TOKEN = 0x1, CKA_PRIVATE = 0x2, CKA_LABEL = 0x3, CKA_ID = 0x102,
       CKA_SENSITIVE = 0x103, CKA_ENCRYPT = 0x104, CKA_DECRYPT = 0x105, CKA_WRAP = 0x106,
       CKA_UNWRAP = 0x107, CKA_SIGN = 0x108, CKA_SIGN_RECOVER = 0x109, CKA_VERIFY = 0x10A,
       CKA_VERIFY_RECOVER = 0x10B, CKA_DERIVE = 0x10C, CKA_MODULUS_BITS = 0x121,
       CKA_PUBLIC_EXPONENT = 0x122, CKA_VALUE_LEN = 0x161, CKA_EXTRACTABLE = 0x162, CKA_LOCAL = 0x163,
       CKA_NEVER_EXTRACTABLE = 0x164, CKA_ALWAYS_SENSITIVE = 0x165, CKA_EC_PARAMS = 0x180,
       CKA_ALLOWED_MECHANISMS = 0x40000600 };

static int binds_mechanism = 1, tells_origin = 1;
static unsigned char yes = 1, no = 0;
#define BYTES(type, array) { type, array, sizeof array }
#define YES(type) { type, &yes, 1 }
#define NO(type) { type, &no, 1 }
#define COUNT(array) (sizeof array / sizeof *array)

/* Where each function is in the list of functions, which is all that some modules export. */
enum { C_Initialize = 0, C_Finalize = 1, C_GetSlotList = 4, C_GetTokenInfo = 6, C_OpenSession = 12,
       C_Login = 18, C_GetAttributeValue = 24, C_FindObjectsInit = 26, C_FindObjects = 27,
       C_FindObjectsFinal = 28, C_SignInit = 42, C_Sign = 43, C_GenerateKey = 58, C_GenerateKeyPair = 59,
       C_GenerateRandom = 64, C_FUNCTIONS = 68 };
typedef struct { unsigned char version[2]; void *function[C_FUNCTIONS]; } functions_t;

static functions_t *module;
static ulong_t session;

static void fail(const char *what, ulong_t code)
{
    fprintf(stderr, "keygen: %s (code 0x%lx)\n", what, code);
    exit(1);
}

/* Calls one function of the module and ends the program where it does not answer CKR_OK. */
#define CALL(name, types, ...)                                                                       \
    do {                                                                                             \
        ulong_t (*call) types = (ulong_t (*) types)module->function[name];                           \
        ulong_t code = call ? call(__VA_ARGS__) : 0x54;                                              \
        if (code != 0) fail(#name, code);                                                            \
    } while (0)

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    if (!library) fail(dlerror(), 0);
    ulong_t (*list)(functions_t **) = (ulong_t (*)(functions_t **))dlsym(library, "C_GetFunctionList");
    ulong_t code = list ? list(&module) : 0x54;
    if (code != 0) fail("C_GetFunctionList", code);
    CALL(C_Initialize, (void *), NULL);
}

static ulong_t slot_of_token(const char *label)
{
    ulong_t slots[64], count = COUNT(slots), found = 0, slot = 0;
    unsigned char padded[32];
    memset(padded, ' ', sizeof padded);
    memcpy(padded, label, strnlen(label, sizeof padded));
    CALL(C_GetSlotList, (unsigned char, ulong_t *, ulong_t *), 1, slots, &count);
    for (ulong_t i = 0; i < count; i++) {
        token_info_t token;
        CALL(C_GetTokenInfo, (ulong_t, token_info_t *), slots[i], &token);
        if (memcmp(token.label, padded, sizeof padded) == 0) { slot = slots[i]; found++; }
    }
    if (found != 1) fail(found ? "two tokens have this label" : "no token has this label", 0xE0);
    return slot;
}

static void log_in(const char *token_label, const char *pin_file)
{
    char pin[256];
    FILE *file = fopen(pin_file, "r");
    if (!file || !fgets(pin, sizeof pin, file)) fail("cannot read the PIN file", 0);
    fclose(file);
    pin[strcspn(pin, "\r\n")] = 0;
    ulong_t flags = CKF_RW_SESSION | CKF_SERIAL_SESSION, slot = slot_of_token(token_label);
    CALL(C_OpenSession, (ulong_t, ulong_t, void *, void *, ulong_t *), slot, flags, NULL, NULL, &session);
    CALL(C_Login, (ulong_t, ulong_t, char *, ulong_t), session, CKU_USER, pin, strlen(pin));
    explicit_bzero(pin, sizeof pin);
}

/* Returns how many keys of the class bear the label; the first goes to *key. */
static ulong_t find(ulong_t class, char *label, ulong_t *key)
{
    ulong_t keys[2], count = 0;
    attribute_t wanted[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, label, strlen(label) } };
    CALL(C_FindObjectsInit, (ulong_t, attribute_t *, ulong_t), session, wanted, COUNT(wanted));
    CALL(C_FindObjects, (ulong_t, ulong_t *, ulong_t, ulong_t *), session, keys, COUNT(keys), &count);
    CALL(C_FindObjectsFinal, (ulong_t), session);
    if (count > 0) *key = keys[0];
    return count;
}

/* In both templates of keys that sign the mechanism comes last, to be left out where it has to be. */
static void generate_pair(ulong_t how, attribute_t kind, attribute_t extra, ulong_t allowed, char *label,
                          unsigned char id[16])
{
    ulong_t public_key, private_key;
    mechanism_t mechanism = { how, NULL, 0 };
    attribute_t public_template[] = {
        { CKA_LABEL, label, strlen(label) }, { CKA_ID, id, 16 }, YES(CKA_TOKEN), NO(CKA_PRIVATE),
        YES(CKA_VERIFY), NO(CKA_ENCRYPT), NO(CKA_WRAP), NO(CKA_VERIFY_RECOVER), NO(CKA_DERIVE), kind, extra };
    attribute_t private_template[] = {
        { CKA_LABEL, label, strlen(label) }, { CKA_ID, id, 16 }, YES(CKA_TOKEN), YES(CKA_PRIVATE),
        YES(CKA_SENSITIVE), NO(CKA_EXTRACTABLE), YES(CKA_SIGN), NO(CKA_DECRYPT), NO(CKA_UNWRAP),
        NO(CKA_SIGN_RECOVER), NO(CKA_DERIVE), { CKA_ALLOWED_MECHANISMS, &allowed, sizeof allowed } };
    ulong_t public_count = COUNT(public_template) - (extra.value ? 0 : 1);
    CALL(C_GenerateKeyPair,
         (ulong_t, mechanism_t *, attribute_t *, ulong_t, attribute_t *, ulong_t, ulong_t *, ulong_t *),
         session, &mechanism, public_template, public_count, private_template,
         COUNT(private_template) - !binds_mechanism,
         &public_key, &private_key);
}

static void generate_secret(char *label, unsigned char id[16])
{
    ulong_t key, length = 32, allowed = CKM_SHA256_HMAC;
    mechanism_t mechanism = { CKM_GENERIC_SECRET, NULL, 0 };
    attribute_t template[] = {
        { CKA_LABEL, label, strlen(label) }, { CKA_ID, id, 16 }, YES(CKA_TOKEN), YES(CKA_PRIVATE),
        YES(CKA_SENSITIVE), NO(CKA_EXTRACTABLE), YES(CKA_SIGN), NO(CKA_VERIFY), NO(CKA_ENCRYPT),
        NO(CKA_DECRYPT), NO(CKA_WRAP), NO(CKA_UNWRAP), NO(CKA_DERIVE),
        { CKA_VALUE_LEN, &length, sizeof length }, { CKA_ALLOWED_MECHANISMS, &allowed, sizeof allowed } };
    CALL(C_GenerateKey, (ulong_t, mechanism_t *, attribute_t *, ulong_t, ulong_t *), session, &mechanism,
         template, COUNT(template) - !binds_mechanism, &key);
}

static void generate(const char *kind, char *label)
{
    unsigned char id[16], exponent[] = { 1, 0, 1 };
    unsigned char p256[] = { 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07 }; /* its OID */
    ulong_t bits = 2048;
    attribute_t none = { 0, NULL, 0 };
    CALL(C_GenerateRandom, (ulong_t, unsigned char *, ulong_t), session, id, sizeof id);
    if (strcmp(kind, "rsa2048") == 0)
        generate_pair(CKM_RSA_KEY_PAIR, (attribute_t){ CKA_MODULUS_BITS, &bits, sizeof bits },
                      (attribute_t)BYTES(CKA_PUBLIC_EXPONENT, exponent), CKM_RSA_PSS, label, id);
    else if (strcmp(kind, "p256") == 0)
        generate_pair(CKM_EC_KEY_PAIR, (attribute_t)BYTES(CKA_EC_PARAMS, p256), none, CKM_ECDSA, label, id);
    else
        generate_secret(label, id);
}

static void assert_attribute(ulong_t key, ulong_t type, unsigned char wanted, const char *sentence)
{
    unsigned char value = !wanted;
    attribute_t attribute = { type, &value, 1 };
    CALL(C_GetAttributeValue, (ulong_t, ulong_t, attribute_t *, ulong_t), session, key, &attribute, 1);
    if (value != wanted) fail(sentence, type);
}

static void assert_signs_only(ulong_t key, int secret)
{
    if (tells_origin) assert_attribute(key, CKA_LOCAL, 1, "the key was not generated in the token");
    assert_attribute(key, CKA_PRIVATE, 1, "the key is visible without log-in");
    assert_attribute(key, CKA_SENSITIVE, 1, "the key is not sensitive");
    assert_attribute(key, CKA_ALWAYS_SENSITIVE, 1, "the key was not always sensitive");
    assert_attribute(key, CKA_EXTRACTABLE, 0, "the key is extractable");
    assert_attribute(key, CKA_NEVER_EXTRACTABLE, 1, "the key was extractable once");
    assert_attribute(key, CKA_SIGN, 1, "the key may not sign");
    assert_attribute(key, CKA_DECRYPT, 0, "the key may decrypt");
    assert_attribute(key, CKA_UNWRAP, 0, "the key may unwrap");
    assert_attribute(key, CKA_DERIVE, 0, "the key may derive");
    if (secret) {
        assert_attribute(key, CKA_ENCRYPT, 0, "the key may encrypt");
        assert_attribute(key, CKA_WRAP, 0, "the key may wrap");
        assert_attribute(key, CKA_VERIFY, 0, "the key may verify");
    } else {
        assert_attribute(key, CKA_SIGN_RECOVER, 0, "the key may sign with recovery");
    }
}

/* A secret that cannot make an HMAC is found out here and not by the daemon. */
static void assert_makes_hmac(ulong_t key)
{
    unsigned char mac[64];
    ulong_t length = sizeof mac;
    mechanism_t mechanism = { CKM_SHA256_HMAC, NULL, 0 };
    CALL(C_SignInit, (ulong_t, mechanism_t *, ulong_t), session, &mechanism, key);
    CALL(C_Sign, (ulong_t, unsigned char *, ulong_t, unsigned char *, ulong_t *), session,
         (unsigned char *)"set-up", 6, mac, &length);
    if (length != 32) fail("the key's HMAC is not 32 bytes long", 0);
}

int main(int count, char **words)
{
    if (count < 6) fail("usage: keygen MODULE TOKEN-LABEL PIN-FILE rsa2048|p256|hmac256 KEY-LABEL [LACK]...", 0);
    char *kind = words[4], *label = words[5];
    int secret = strcmp(kind, "hmac256") == 0;
    if (!secret && strcmp(kind, "rsa2048") && strcmp(kind, "p256")) fail("unknown kind of key", 0);
    for (int i = 6; i < count; i++) {
        if (strcmp(words[i], "mechanisms") == 0) binds_mechanism = 0;
        else if (strcmp(words[i], "origin") == 0) tells_origin = 0;
        else fail("unknown lack", 0);
    }
    load(words[1]);
    log_in(words[2], words[3]);

    ulong_t key = 0, class = secret ? CKO_SECRET_KEY : CKO_PRIVATE_KEY;
    ulong_t before = find(class, label, &key);
    if (before == 0) generate(kind, label);
    if (find(class, label, &key) != 1) fail("not exactly one key of this label is in the token", 0);
    assert_signs_only(key, secret);
    if (secret) assert_makes_hmac(key);
    puts(before ? "kept" : "made");
    CALL(C_Finalize, (void *), NULL);
    return 0;
}
