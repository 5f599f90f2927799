// Makes a component of a core module: node component.mjs CORE WIT OUTPUT
import { componentEmbed, componentNew, preview1AdapterReactorPath } from '@bytecodealliance/jco';
import { readFile, writeFile } from 'node:fs/promises';

const [core, wit, output] = process.argv.slice(2);
const embedded = await componentEmbed({ binary: await readFile(core), witSource: await readFile(wit, 'utf8') });
const adapter = await readFile(preview1AdapterReactorPath());
await writeFile(output, await componentNew(embedded, [['wasi_snapshot_preview1', adapter]]));
