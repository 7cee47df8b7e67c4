// @ts-check
/** QR codes (ISO/IEC 18004): byte mode, error correction M, all versions. */

import { alignments, codewords, sizeOf, versionFor } from "./qr-codewords.js";
import { penalty } from "./qr-penalty.js";

export { TooLongForQr } from "./qr-codewords.js";

const LEVEL_M = 0b00;

/** @type {((x: number, y: number) => boolean)[]} */
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/**
 * @typedef {object} QrCode
 * @property {number} version
 * @property {number} mask
 * @property {Uint8Array[]} rows modules by row, 1 is dark; without the quiet zone
 */

/**
 * @param {string} text
 * @param {number | null} [wanted] the mask to take; by default the best one
 * @returns {QrCode}
 * @throws {import("./qr-codewords.js").TooLongForQr}
 */
export function qrCode(text, wanted = null) {
  const bytes = new TextEncoder().encode(text);
  const version = versionFor(bytes);
  const { rows, free } = functionPatterns(version);
  placeData(rows, free, codewords(bytes, version));
  const mask = wanted ?? bestMask(rows, free);
  const masked = applyMask(rows, free, mask);
  drawFormat(masked, mask);
  drawVersion(masked, version);
  return { version, mask, rows: masked };
}

/**
 * @param {number} version
 * @returns {{rows: Uint8Array[], free: Uint8Array[]}} the patterns that are the same for all
 *   contents, and where there is room for data
 */
function functionPatterns(version) {
  const size = sizeOf(version);
  const rows = Array.from({ length: size }, () => new Uint8Array(size));
  const free = Array.from({ length: size }, () => new Uint8Array(size).fill(1));
  /** @type {(x: number, y: number, dark: boolean) => void} */
  const set = (x, y, dark) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    rows[y][x] = dark ? 1 : 0;
    free[y][x] = 0;
  };
  for (let at = 0; at < size; at++) {
    set(at, 6, at % 2 === 0);
    set(6, at, at % 2 === 0);
  }
  drawAlignments(version, set);
  for (let at = 0; at < 9; at++) {
    // Kept light for the format until the mask is known.
    if (at !== 6) set(at, 8, false);
    if (at !== 6) set(8, at, false);
    set(size - at, 8, false);
    set(8, size - at, false);
  }
  for (const [x, y] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ])
    drawFinder(x, y, set);
  for (let at = 0; version >= 7 && at < 18; at++) {
    const [along, across] = [Math.floor(at / 3), size - 11 + (at % 3)];
    set(along, across, false);
    set(across, along, false);
  }
  return { rows, free };
}

/**
 * @param {number} x
 * @param {number} y
 * @param {(x: number, y: number, dark: boolean) => void} set
 */
function drawFinder(x, y, set) {
  for (let dy = -4; dy <= 4; dy++) {
    for (let dx = -4; dx <= 4; dx++) {
      const ring = Math.max(Math.abs(dx), Math.abs(dy));
      set(x + dx, y + dy, ring !== 2 && ring !== 4);
    }
  }
}

/**
 * @param {number} version
 * @param {(x: number, y: number, dark: boolean) => void} set
 */
function drawAlignments(version, set) {
  const count = alignments(version);
  if (!count) return;
  const last = sizeOf(version) - 7;
  // Evenly spaced from the right; the standard rounds version 32 otherwise.
  const step = version === 32 ? 26 : Math.ceil((last - 6) / (count - 1) / 2) * 2;
  const centres = Array.from({ length: count }, (_, at) =>
    at ? last - (count - 1 - at) * step : 6,
  );
  for (const x of centres) {
    for (const y of centres) {
      const atFinder = (x === 6 && y === 6) || (x === 6 && y === last) || (x === last && y === 6);
      if (atFinder) continue;
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) {
          set(x + dx, y + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
        }
      }
    }
  }
}

/**
 * Two columns at a time from the right, up and down in turn, past the timing column.
 * @param {Uint8Array[]} rows
 * @param {Uint8Array[]} free
 * @param {number[]} data
 */
function placeData(rows, free, data) {
  const size = rows.length;
  let bit = 0;
  let up = true;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (!free[y][x]) continue;
        rows[y][x] = bit < data.length * 8 ? (data[bit >> 3] >> (7 - (bit & 7))) & 1 : 0;
        bit += 1;
      }
    }
    up = !up;
  }
}

/**
 * @param {Uint8Array[]} rows
 * @param {Uint8Array[]} free
 * @param {number} mask
 */
function applyMask(rows, free, mask) {
  return rows.map((row, y) =>
    row.map((module, x) => (free[y][x] && MASKS[mask](x, y) ? module ^ 1 : module)),
  );
}

/**
 * @param {Uint8Array[]} rows
 * @param {Uint8Array[]} free
 */
function bestMask(rows, free) {
  const points = MASKS.map((_, mask) => penalty(applyMask(rows, free, mask)));
  return points.indexOf(Math.min(...points));
}

/**
 * @param {number} value
 * @param {number} generator
 * @param {number} degree
 * @returns {number} the value, followed by the remainder of its division
 */
function withRemainder(value, generator, degree) {
  let rest = value << degree;
  for (let bit = 31 - Math.clz32(rest); bit >= degree; bit--) {
    if ((rest >> bit) & 1) rest ^= generator << (bit - degree);
  }
  return (value << degree) | rest;
}

/**
 * @param {Uint8Array[]} rows
 * @param {number} mask
 */
function drawFormat(rows, mask) {
  const size = rows.length;
  const bits = withRemainder((LEVEL_M << 3) | mask, 0x537, 10) ^ 0x5412;
  for (let at = 0; at < 15; at++) {
    const dark = (bits >> at) & 1;
    // Along the finder at the top left, past the timing lines...
    if (at < 8) rows[at < 6 ? at : at + 1][8] = dark;
    else rows[8][at === 8 ? 7 : 14 - at] = dark;
    // ...and once more beside the two others.
    if (at < 8) rows[8][size - 1 - at] = dark;
    else rows[size - 15 + at][8] = dark;
  }
  rows[size - 8][8] = 1;
}

/**
 * @param {Uint8Array[]} rows
 * @param {number} version
 */
function drawVersion(rows, version) {
  if (version < 7) return;
  const bits = withRemainder(version, 0x1f25, 12);
  for (let at = 0; at < 18; at++) {
    const [along, across] = [Math.floor(at / 3), rows.length - 11 + (at % 3)];
    rows[along][across] = rows[across][along] = (bits >> at) & 1;
  }
}
