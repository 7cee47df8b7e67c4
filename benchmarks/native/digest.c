#include "digest.h"

#include <string.h>

static uint32_t rotated_left(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

static uint32_t rotated_right(uint32_t value, int bits) { return rotated_left(value, 32 - bits); }

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_big_endian(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void sha1_block(uint32_t *state, const uint8_t *block)
{
    static const uint32_t constants[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t w[80], v[5];

    for (int i = 0; i < 16; i++)
        w[i] = big_endian(block + 4 * i);
    for (int i = 16; i < 80; i++)
        w[i] = rotated_left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 80; i++) {
        uint32_t f = v[1] ^ v[2] ^ v[3];
        if (i < 20)
            f = (v[1] & v[2]) | (~v[1] & v[3]);
        else if (i >= 40 && i < 60)
            f = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]);
        uint32_t sum = rotated_left(v[0], 5) + f + v[4] + constants[i / 20] + w[i];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotated_left(v[1], 30);
        v[1] = v[0];
        v[0] = sum;
    }
    for (int i = 0; i < 5; i++)
        state[i] += v[i];
}

static const uint32_t SHA256_CONSTANTS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static void sha256_block(uint32_t *state, const uint8_t *block)
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++)
        w[i] = big_endian(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        a = rotated_right(a, 7) ^ rotated_right(a, 18) ^ a >> 3;
        b = rotated_right(b, 17) ^ rotated_right(b, 19) ^ b >> 10;
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t e = rotated_right(v[4], 6) ^ rotated_right(v[4], 11) ^ rotated_right(v[4], 25);
        uint32_t a = rotated_right(v[0], 2) ^ rotated_right(v[0], 13) ^ rotated_right(v[0], 22);
        uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t first = v[7] + e + choice + SHA256_CONSTANTS[i] + w[i];
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += first;
        v[0] = first + a + majority;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

/* Both digests pad alike: a one bit, zeros, and the length in bits as 64 bits. */
static void digest(void (*block_of)(uint32_t *, const uint8_t *), uint32_t *state,
                   const uint8_t *data, size_t size)
{
    uint8_t tail[128] = {0};
    size_t rest = size % 64, tail_size = rest < 56 ? 64 : 128;

    for (size_t at = 0; at + 64 <= size; at += 64)
        block_of(state, data + at);
    if (rest > 0)
        memcpy(tail, data + size - rest, rest);
    tail[rest] = 0x80;
    put_big_endian(tail + tail_size - 8, (uint32_t)((uint64_t)size >> 29));
    put_big_endian(tail + tail_size - 4, (uint32_t)(size << 3));
    for (size_t at = 0; at < tail_size; at += 64)
        block_of(state, tail + at);
}

void sha1(const void *data, size_t size, uint8_t out[SHA1_SIZE])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};

    digest(sha1_block, state, data, size);
    for (int i = 0; i < 5; i++)
        put_big_endian(out + 4 * i, state[i]);
}

static void sha256(const void *data, size_t size, uint8_t out[SHA256_SIZE])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    digest(sha256_block, state, data, size);
    for (int i = 0; i < 8; i++)
        put_big_endian(out + 4 * i, state[i]);
}

void hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                 uint8_t out[SHA256_SIZE])
{
    uint8_t block[64] = {0}, inner[64 + 1024], outer[64 + SHA256_SIZE];

    if (size > 1024)
        size = 1024; /* a join token is far shorter */
    if (key_size > sizeof block)
        sha256(key, key_size, block);
    else
        memcpy(block, key, key_size);
    for (size_t i = 0; i < sizeof block; i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    memcpy(inner + 64, data, size);
    sha256(inner, 64 + size, outer + 64);
    sha256(outer, sizeof outer, out);
}

static size_t encode(const uint8_t *data, size_t size, char *out, const char *last, int padded)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char *at = out;

    for (size_t i = 0; i < size; i += 3) {
        uint32_t group = (uint32_t)data[i] << 16;
        if (i + 1 < size)
            group |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < size)
            group |= data[i + 2];
        size_t characters = size - i >= 3 ? 4 : size - i + 1;
        for (size_t j = 0; j < 4; j++) {
            uint32_t value = group >> (18 - 6 * j) & 63;
            if (j < characters)
                *at++ = value < 62 ? first[value] : last[value - 62];
            else if (padded)
                *at++ = '=';
        }
    }
    *at = '\0';
    return (size_t)(at - out);
}

size_t base64(const void *data, size_t size, char *out) { return encode(data, size, out, "+/", 1); }

size_t base64url(const void *data, size_t size, char *out)
{
    return encode(data, size, out, "-_", 0);
}
