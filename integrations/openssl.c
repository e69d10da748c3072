/* openssl.c - OpenSSL's memory as a heap: digests, ciphers, big numbers. */
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "integrate.h"

/* glue: OpenSSL passes the place that asks, and nothing else. */
HAK_DEFINE_HOOKS_WITH(ssl, g_heap, HAK_HOOKS_ZERO_FREES);

static void *ssl_give(size_t size, const char *file, int line) {
  (void)file, (void)line;
  return ssl_malloc(size);
}
static void *ssl_resize(void *ptr, size_t size, const char *file, int line) {
  (void)file, (void)line;
  return ssl_realloc(ptr, size);
}
static void ssl_give_back(void *ptr, const char *file, int line) {
  (void)file, (void)line;
  ssl_free(ptr);
}
/* glue end: CRYPTO_set_mem_functions(ssl_give, ssl_resize, ssl_give_back) before anything
 * else */

static void *failing_give(size_t size, const char *file, int line) {
  return fails() ? NULL : ssl_give(size, file, line);
}
static void *failing_resize(void *ptr, size_t size, const char *file, int line) {
  return size != 0 && fails() ? NULL : ssl_resize(ptr, size, file, line);
}

static void begin(void) {
  MUST(CRYPTO_set_mem_functions(HOOK(ssl_give, failing_give),
                                HOOK(ssl_resize, failing_resize), ssl_give_back) == 1);
}
static void end(void) { OPENSSL_cleanup(); }

static int put_hex(char *result, const unsigned char *bytes, size_t count) {
  size_t length = strlen(result);
  for (size_t i = 0; i < count; i++) {
    length += (size_t)snprintf(result + length, RESULT_MAX - length, "%02x", bytes[i]);
  }
  return 1;
}

static int digest(char *result) {
  unsigned char text[5000], sum[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  memset(text, 'x', sizeof text);
  return EVP_Digest(text, sizeof text, sum, &length, EVP_sha256(), NULL) == 1 &&
         put_hex(result, sum, length);
}

static int encrypt(char *result) {
  static const unsigned char key[32] = "32 bytes", iv[12] = "nonce";
  unsigned char text[500], tag[16];
  int length = 0, last = 0;
  memset(text, 'y', sizeof text);
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  int ok = cipher != NULL &&
           EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, iv) == 1 &&
           EVP_EncryptUpdate(cipher, text, &length, text, sizeof text) == 1 &&
           EVP_EncryptFinal_ex(cipher, text + length, &last) == 1 &&
           EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, 16, tag) == 1 &&
           put_hex(result, text, 16) && put_hex(result, tag, sizeof tag);
  EVP_CIPHER_CTX_free(cipher);
  return ok;
}

static int power(char *result) {
  BN_CTX *context = BN_CTX_new();
  BIGNUM *base = NULL, *modulus = NULL, *answer = BN_new();
  int ok = context != NULL && answer != NULL &&
           BN_dec2bn(&base, "123456789123456789") > 0 &&
           BN_hex2bn(&modulus, "ffffffffffffffc5ffffffffffffff61") > 0 &&
           BN_mod_exp(answer, base, modulus, modulus, context) == 1;
  char *text = ok ? BN_bn2dec(answer) : NULL;
  if (text != NULL) strncat(result, text, 100);
  OPENSSL_free(text);
  BN_free(base);
  BN_free(modulus);
  BN_free(answer);
  BN_CTX_free(context);
  return text != NULL;
}

static int work(char *result) {
  result[0] = 0;
  return digest(result) && encrypt(result) && power(result) ? 0 : 1;
}

int main(void) {
  static const integration_t openssl = {"openssl", 64 << 20, begin, end, work, NULL};
  return integrate(&openssl);
}
