// @ts-check
/** How hard a masked QR code would be to scan (ISO/IEC 18004, 7.8.3). */

const RUN = 3;
const BLOCK = 3;
const FINDER = 40;
const BALANCE = 10;
const LIKE_A_FINDER = [1, 0, 1, 1, 1, 0, 1];

/**
 * @param {Uint8Array[]} rows modules by row, 1 is dark
 * @returns {number} penalty points; the mask with the fewest is taken
 */
export function penalty(rows) {
  const columns = rows.map((_, x) => Uint8Array.from(rows, (row) => row[x]));
  let points = blocks(rows) + balance(rows);
  for (const line of [...rows, ...columns]) points += runs(line) + finders(line);
  return points;
}

/** @param {Uint8Array} line */
function runs(line) {
  let points = 0;
  for (let start = 0, at = 1; at <= line.length; at++) {
    if (at < line.length && line[at] === line[start]) continue;
    if (at - start >= 5) points += RUN + at - start - 5;
    start = at;
  }
  return points;
}

/** @param {Uint8Array[]} rows */
function blocks(rows) {
  let points = 0;
  for (let y = 1; y < rows.length; y++) {
    for (let x = 1; x < rows.length; x++) {
      const sum = rows[y][x] + rows[y][x - 1] + rows[y - 1][x] + rows[y - 1][x - 1];
      if (sum === 0 || sum === 4) points += BLOCK;
    }
  }
  return points;
}

/**
 * What looks like a finder's middle line, with four light modules (or the edge) on a side.
 * @param {Uint8Array} line
 */
function finders(line) {
  const length = LIKE_A_FINDER.length;
  let points = 0;
  for (let at = 0; at + length <= line.length; at++) {
    if (!LIKE_A_FINDER.every((module, offset) => line[at + offset] === module)) continue;
    if (light(line, at - 4, at) || light(line, at + length, at + length + 4)) {
      points += FINDER;
      at += length - 1; // its modules do not count for another one
    }
  }
  return points;
}

/**
 * @param {Uint8Array} line
 * @param {number} from
 * @param {number} to
 */
function light(line, from, to) {
  return !line.subarray(Math.max(from, 0), Math.max(to, 0)).includes(1);
}

/** @param {Uint8Array[]} rows */
function balance(rows) {
  let dark = 0;
  for (const row of rows) for (const module of row) dark += module;
  const percent = (dark / rows.length ** 2) * 100;
  return BALANCE * Math.trunc(Math.abs(percent - 50) / 5);
}
