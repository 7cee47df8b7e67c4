// @ts-check
/** The codewords of a QR code: bytes, padding and Reed-Solomon error correction of level M. */

// By version, from 1: codewords of error correction in each block, and the number of blocks
// (ISO/IEC 18004, table 9, level M).
const CORRECTION = [
  10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28, 28, 28,
  28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28,
];
const BLOCKS = [
  1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21, 23, 25, 26,
  28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49,
];
const LARGEST_VERSION = 40;
const PADDING = [0xec, 0x11];

/** Longer than the largest QR code holds. */
export class TooLongForQr extends Error {}

/** @param {number} version */
export function sizeOf(version) {
  return 17 + 4 * version;
}

/**
 * How many rows and columns of alignment patterns a version has.
 * @param {number} version
 */
export function alignments(version) {
  return version === 1 ? 0 : Math.floor(version / 7) + 2;
}

/**
 * The codewords that a symbol has room for: all modules but those of the function patterns.
 * @param {number} version
 */
function room(version) {
  const finders = 3 * 64;
  const formats = 2 * 15 + 1;
  const timing = 2 * (sizeOf(version) - 16);
  const count = alignments(version);
  // Three corners have none, and those on a timing line share five modules with it.
  const patterns = count ? 25 * (count * count - 3) - 2 * 5 * (count - 2) : 0;
  const versions = version >= 7 ? 2 * 18 : 0;
  return (sizeOf(version) ** 2 - finders - formats - timing - patterns - versions) >> 3;
}

/** @param {number} version */
function dataRoom(version) {
  return room(version) - CORRECTION[version - 1] * BLOCKS[version - 1];
}

/** @param {number} version */
function lengthBits(version) {
  return version < 10 ? 8 : 16;
}

/**
 * @param {Uint8Array} bytes
 * @returns {number} the smallest version that holds them
 */
export function versionFor(bytes) {
  for (let version = 1; version <= LARGEST_VERSION; version++) {
    if (4 + lengthBits(version) + bytes.length * 8 <= dataRoom(version) * 8) return version;
  }
  throw new TooLongForQr("too long for a QR code");
}

/**
 * @param {Uint8Array} bytes
 * @param {number} version
 * @returns {number[]} data and error correction, interleaved as they are drawn
 */
export function codewords(bytes, version) {
  const blocks = BLOCKS[version - 1];
  const data = dataCodewords(bytes, version);
  const short = Math.floor(data.length / blocks);
  const longer = data.length % blocks; // so many of the last blocks have one codeword more
  const generator = generatorOf(CORRECTION[version - 1]);
  /** @type {number[][]} */
  const parts = [];
  /** @type {number[][]} */
  const corrections = [];
  for (let block = 0, at = 0; block < blocks; block++) {
    const length = short + (block >= blocks - longer ? 1 : 0);
    parts.push(data.slice(at, at + length));
    corrections.push(remainder(parts[block], generator));
    at += length;
  }
  return [...interleave(parts), ...interleave(corrections)];
}

/**
 * @param {Uint8Array} bytes
 * @param {number} version
 */
function dataCodewords(bytes, version) {
  const bits = lengthBits(version);
  /** @type {number[]} */
  const nibbles = [0b0100]; // byte mode
  for (let shift = bits - 4; shift >= 0; shift -= 4) nibbles.push((bytes.length >> shift) & 15);
  for (const byte of bytes) nibbles.push(byte >> 4, byte & 15);
  const size = dataRoom(version);
  if (nibbles.length < size * 2) nibbles.push(0); // the terminator
  const data = [];
  // In byte mode the whole is always even here: mode, length, bytes and terminator.
  for (let at = 0; at + 1 < nibbles.length; at += 2)
    data.push((nibbles[at] << 4) | nibbles[at + 1]);
  for (let turn = 0; data.length < size; turn ^= 1) data.push(PADDING[turn]);
  return data;
}

/** @param {number[][]} parts */
function interleave(parts) {
  const longest = Math.max(...parts.map((part) => part.length));
  const out = [];
  for (let at = 0; at < longest; at++) {
    for (const part of parts) if (at < part.length) out.push(part[at]);
  }
  return out;
}

// The field GF(256) of QR codes, modulo x^8 + x^4 + x^3 + x^2 + 1.
const POWERS = new Uint8Array(255);
const LOGARITHMS = new Uint8Array(256);
for (let exponent = 0, value = 1; exponent < 255; exponent++) {
  POWERS[exponent] = value;
  LOGARITHMS[value] = exponent;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}

/**
 * @param {number} a
 * @param {number} b
 */
function times(a, b) {
  return a && b ? POWERS[(LOGARITHMS[a] + LOGARITHMS[b]) % 255] : 0;
}

/**
 * The product of (x - 2^i) for i below the degree, highest power first, without the leading 1.
 * @param {number} degree
 */
function generatorOf(degree) {
  let polynomial = [1];
  for (let root = 0; root < degree; root++) {
    const shifted = [...polynomial, 0];
    polynomial.forEach((factor, at) => (shifted[at + 1] ^= times(factor, POWERS[root])));
    polynomial = shifted;
  }
  return polynomial.slice(1);
}

/**
 * @param {number[]} data
 * @param {number[]} generator
 */
function remainder(data, generator) {
  const rest = generator.map(() => 0);
  for (const codeword of data) {
    const factor = codeword ^ /** @type {number} */ (rest.shift());
    rest.push(0);
    generator.forEach((value, at) => (rest[at] ^= times(value, factor)));
  }
  return rest;
}
