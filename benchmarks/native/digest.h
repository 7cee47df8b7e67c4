/* The digests that a WebSocket handshake and a join token need (RFC 3174, FIPS 180-4, RFC 2104). */
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20, SHA256_SIZE = 32 };

void sha1(const void *data, size_t size, uint8_t out[SHA1_SIZE]);
void hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                 uint8_t out[SHA256_SIZE]);

/* Base64 with padding (RFC 4648, section 4), or base64url without (section 5). Both write a
 * terminating zero and return the length without it. */
size_t base64(const void *data, size_t size, char *out);
size_t base64url(const void *data, size_t size, char *out);

#endif
