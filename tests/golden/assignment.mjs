// canary's assignment once more, as docs/assignment.md says it, checked against assignment.json:  npm test
// It shares no code with the library, and takes its XXH3 from a package that speaks WebAssembly.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createXXHash3 } from 'hash-wasm';

const RING = 2n ** 32n;
const TOTAL_PPM = 1_000_000n;

// --- the assignment, for whoever needs it in JavaScript ------------------------------------------------------------

/** XXH3, 64 bits, of bytes; the seed goes in as two halves. */
async function xxh3(bytes, seed = 0n) {
  const hasher = await createXXHash3(Number(seed & 0xffff_ffffn), Number(seed >> 32n));
  return BigInt('0x' + hasher.init().update(bytes).digest('hex'));
}

const seedOf = (salt) => xxh3(new TextEncoder().encode(salt));
const pointOf = async (bytes, seed) => Number((await xxh3(bytes, seed)) >> 32n);

/** A number hashes as its 8 little-endian bytes. */
function bytesOfU64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, number, true);
  return bytes;
}

/** The owner of a point: that of the last run that starts at or before it. */
function ownerAt(runs, point) {
  let low = 0;
  let high = runs.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (runs[middle][0] <= point) low = middle;
    else high = middle;
  }
  return runs[low][1];
}

/** A task's versions, numbered as they come: versions[N] has owner N, 0 is the default. */
class Versions {
  constructor(task, defaultModel) {
    this.task = task;
    this.list = [{ id: `${task}@default`, model: defaultModel }];
  }

  /** The owner that a share names, a new one if it names none yet. */
  owner({ model, id }) {
    const known = this.list.findIndex((v, owner) => owner !== 0 && (id ? v.id === id : v.model === model));
    if (known !== -1) return known;
    let number = this.list.length;
    while (!id && this.list.some((v) => v.id === `${this.task}@${number}`)) ++number;
    return this.list.push({ id: id || `${this.task}@${number}`, model }) - 1;
  }
}

/** Weights to points. `before` and the result map owner -> {ppm, points}, without owners of weight 0. */
function pointsFor(weights, before) {
  const after = new Map();
  const changed = [];
  let points = RING;
  let ppm = TOTAL_PPM;
  for (const [owner, weight] of [...weights].sort(([a], [b]) => a - b)) {
    const had = before.get(owner);
    if (weight === 0n) continue;
    if (had?.ppm === weight) {
      after.set(owner, had);
      points -= had.points;
      ppm -= weight;
    } else {
      changed.push([owner, weight]);
    }
  }
  let left = points;
  const byRemainder = [];
  for (const [owner, weight] of changed) {
    const share = { ppm: weight, points: (weight * points) / ppm };
    after.set(owner, share);
    left -= share.points;
    byRemainder.push({ owner, share, remainder: (weight * points) % ppm });
  }
  byRemainder.sort((a, b) => (a.remainder === b.remainder ? a.owner - b.owner : a.remainder > b.remainder ? -1 : 1));
  for (const { share } of byRemainder.slice(0, Number(left))) ++share.points;
  return after;
}

/** What a point answers. */
function decide({ versions, forcedModel, runs, serves }, point) {
  if (forcedModel) {
    const version = versions.list.slice(1).find((v) => v.model === forcedModel);
    return { version: version?.id ?? `${versions.task}@forced`, model: forcedModel, reason: 'forced' };
  }
  const owner = ownerAt(runs, point);
  const { id, model } = versions.list[owner];
  const chosen = serves && (owner !== 0 || model !== '');
  return { version: id, model, reason: chosen ? 'split' : 'fallback' };
}

// --- the checks ----------------------------------------------------------------------------------------------------

const golden = JSON.parse(readFileSync(new URL('assignment.json', import.meta.url), 'utf8'));
let checks = 0;

function same(actual, expected, where) {
  ++checks;
  assert.deepEqual(actual, expected, `${where}: this answers ${format(actual)}, the golden file says ${format(expected)}`);
}
const format = (value) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? String(v) : v));

function bytesOfKey(entry) {
  if ('u64' in entry) return bytesOfU64(BigInt(entry.u64));
  if (entry.key.startsWith('hex:')) return Uint8Array.from(Buffer.from(entry.key.slice(4), 'hex'));
  return new TextEncoder().encode(entry.key);
}
const nameOf = (entry) => entry.key ?? entry.u64;

/** Points of each owner, and that the runs are in order and no two neighbours have one owner. */
function measure(runs, where) {
  const lengths = new Map();
  same(runs[0][0], 0, `${where}: start of the first run`);
  runs.forEach(([start, owner], i) => {
    const end = i + 1 === runs.length ? Number(RING) : runs[i + 1][0];
    same(end > start && runs[i + 1]?.[1] !== owner, true, `${where}: run ${i} is in order`);
    lengths.set(owner, (lengths.get(owner) ?? 0n) + BigInt(end - start));
  });
  return lengths;
}

function pointsMoved(before, after) {
  const borders = [...new Set([...before, ...after].map(([start]) => start))].sort((a, b) => a - b);
  return borders.reduce((moved, start, i) => {
    const end = i + 1 === borders.length ? Number(RING) : borders[i + 1];
    return ownerAt(before, start) === ownerAt(after, start) ? moved : moved + end - start;
  }, 0);
}

/** Half the sum of |change|. */
function leastPossible(before, after) {
  let sum = 0n;
  for (const owner of new Set([...before.keys(), ...after.keys()])) {
    const change = (after.get(owner)?.points ?? 0n) - (before.get(owner)?.points ?? 0n);
    sum += change < 0n ? -change : change;
  }
  return Number(sum / 2n);
}

test('a salt makes the same seed', async () => {
  for (const { salt, seed } of golden.seeds) same(await seedOf(salt), BigInt(seed), `seed of ${salt}`);
});

test('a key falls on the same point', async () => {
  for (const entry of golden.points) {
    const seed = await seedOf(entry.salt);
    same(seed, BigInt(entry.seed), `seed of ${entry.salt}`);
    same(await pointOf(bytesOfKey(entry), seed), entry.point, `point of ${nameOf(entry)} with salt ${entry.salt}`);
  }
});

for (const task of golden.splits) {
  test(`${task.task}: ${task.about}`, async () => {
    const seed = await seedOf(task.salt || task.task);
    same(seed, BigInt(task.seed), 'seed');
    const versions = new Versions(task.task, task.default_model);
    let shares = new Map([[0, { ppm: TOTAL_PPM, points: RING }]]);
    let runs = [[0, 0]];
    let revision = 0;
    for (const step of task.steps) {
      const before = { shares, runs };
      if (step.shares !== null) {
        ++revision;
        const weights = new Map(step.shares.map((share) => [versions.owner(share), BigInt(share.ppm)]));
        weights.set(0, TOTAL_PPM - [...weights.values()].reduce((sum, ppm) => sum + ppm, 0n));
        shares = pointsFor(weights, before.shares);
      }
      runs = step.runs;  // the truth: they have a history that weights do not tell
      same(revision, step.revision, `${step.about}: revision`);
      same(versions.list, step.versions.map(({ id, model }) => ({ id, model })), `${step.about}: versions`);
      const lengths = measure(runs, step.about);
      for (const { owner, ppm, points } of step.versions) {
        same(Number(shares.get(owner)?.ppm ?? 0n), ppm, `${step.about}: weight of owner ${owner}`);
        same(Number(shares.get(owner)?.points ?? 0n), points, `${step.about}: points of owner ${owner}`);
        same(Number(lengths.get(owner) ?? 0n), points, `${step.about}: points of owner ${owner} in the runs`);
      }
      same(pointsMoved(before.runs, runs), step.points_moved, `${step.about}: points moved`);
      same(leastPossible(before.shares, shares), step.points_minimum, `${step.about}: least possible`);
      same(step.points_moved, step.points_minimum, `${step.about}: moved the least possible`);
      const serves = [...shares.keys()].some((owner) => owner !== 0);
      for (const entry of step.decisions) {
        const where = `${step.about}: ${nameOf(entry)}`;
        const point = await pointOf(bytesOfKey(entry), seed);
        same(point, entry.point, `${where}: point`);
        const { version, model, reason } = entry;
        same(decide({ versions, forcedModel: task.forced_model, runs, serves }, point), { version, model, reason }, where);
      }
    }
  });
}

test("the page's worked example says what the golden file says", () => {
  const page = readFileSync(new URL('../../docs/assignment.md', import.meta.url), 'utf8').replace(/\s+/g, ' ');
  const task = golden.splits.find(({ task }) => task === 'checklist_enrichment');
  const [, first, ...later] = task.steps;
  const says = (text) => same(page.includes(text), true, `docs/assignment.md says \`${text}\``);
  const textOf = (runs) => runs.map(([start, owner]) => `[${start}, ${owner}]`).join(' ');
  says(task.seed);
  says(`${first.versions[0].points} + ${first.versions[1].points} = ${RING}`);
  for (const { runs } of [first, ...later.slice(0, 3)]) says(textOf(runs));
  for (const name of ['user-0', 'user-42', '42 (u64)']) {
    const { point, version, reason } = first.decisions.find((entry) => nameOf(entry) === name.split(' ')[0]);
    const run = first.runs.findLast(([start]) => start <= point);
    says(`${name} point ${point}, run ${textOf([run])} ${version} ${reason}`);
  }
});

test('every check of the golden file was made', (t) => {
  assert.ok(checks > 4_000, `only ${checks} checks`);
  t.diagnostic(`${checks} checks agree with the golden file`);
});
