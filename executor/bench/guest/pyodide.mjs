// Drives Pyodide on Node: `node pyodide.mjs MODULE plain|snapshot`, with driver.py's lines.
//
// `snapshot` starts from a memory snapshot that is made once, before the first answer. A session is
// an interpreter: it lives in a Worker of its own, so that many of them can be held and ended.
import { createInterface } from "node:readline";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { writeSync } from "node:fs";

const BLOCK = 65536;

if (!isMainThread) {
  const { loadPyodide } = await import(workerData.module);
  const options = { stdout: (text) => printed.push(text) };
  let printed = [];
  if (workerData.snapshot) options._loadSnapshot = workerData.snapshot;
  const python = await loadPyodide(options);
  python.globals.set("tool", (number) => number);
  parentPort.on("message", (code) => {
    printed = [];
    try {
      python.runPython(code);
      parentPort.postMessage({ printed: printed.join("\n") });
    } catch (error) {
      parentPort.postMessage({ error: String(error.message ?? error).trim().split("\n").pop() });
    }
  });
  parentPort.postMessage({ ready: python.version });
} else {
  const module = process.argv[2];
  let snapshot = null;
  if (process.argv[3] === "snapshot") {
    const { loadPyodide } = await import(module);
    snapshot = (await loadPyodide({ _makeSnapshot: true })).makeMemorySnapshot();
  }
  const held = [];
  let session = null;
  const now = () => performance.now() / 1000;

  class Session {
    static async open() {
      const made = new Session();
      made.worker = new Worker(new URL(import.meta.url), { workerData: { module, snapshot } });
      made.version = (await made.next()).ready;
      return made;
    }
    next() {
      return new Promise((resolve, reject) => {
        this.worker.once("message", resolve);
        this.worker.once("error", reject);
      });
    }
    async run(code) {
      this.worker.removeAllListeners("error");
      const answer = this.next();
      this.worker.postMessage(code);
      const told = await answer;
      if (told.error) throw new Error(told.error);
      return told.printed;
    }
    close() {
      return this.worker.terminate();
    }
  }

  const expect = (found, wanted) => {
    if (found !== wanted) throw new Error(`it gave ${String(found).slice(0, 80)}, not ${wanted}`);
  };
  const live = async () => (session ??= await Session.open());
  const timed = async (one, code) => {
    const began = now();
    const printed = await one.run(code);
    return [now() - began, printed];
  };
  const ops = {
    async version() {
      return `Pyodide on Node ${process.version}, Python ${(await live()).version}`;
    },
    async create() {
      const began = now();
      const made = await Session.open();
      const printed = await made.run("print(1 + 1)");
      const took = now() - began;
      await made.close();
      expect(printed, "2");
      return took;
    },
    async cell() {
      const [took, printed] = await timed(await live(), "print(1 + 1)");
      expect(printed, "2");
      return took;
    },
    async calls({ count }) {
      const code = `_total = 0\nfor _number in range(${count}):\n    _total += tool(_number)\nprint(_total)`;
      const [took, printed] = await timed(await live(), code);
      expect(printed, String((count * (count - 1)) / 2));
      return took / count;
    },
    async work({ program }) {
      const one = await live();
      await one.run(program);
      return await timed(one, "print(work())");
    },
    async output({ size }) {
      const blocks = Math.max(1, Math.floor(size / BLOCK));
      const code = `for _ in range(${blocks}):\n    print("x" * ${BLOCK - 1})`;
      const [took, printed] = await timed(await live(), code);
      expect(printed.length + 1, blocks * BLOCK);
      return (took * size) / (blocks * BLOCK);
    },
    async hold({ count }) {
      for (let i = 0; i < count; i++) {
        const made = await Session.open();
        expect(await made.run("x = 1\nprint(x)"), "1");
        held.push(made);
      }
      return held.length;
    },
    async release() {
      while (held.length) await held.pop().close();
      return 0;
    },
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const { op, ...rest } = JSON.parse(line);
    let told;
    try {
      told = { value: await ops[op](rest) };
    } catch (error) {
      told = { error: String(error.message ?? error).trim().split("\n").pop() };
    }
    writeSync(1, JSON.stringify(told) + "\n");
  }
  process.exit(0);
}
