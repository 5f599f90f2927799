// Makes a component with StarlingMonkey, without the given features: node starlingmonkey.mjs SOURCE WIT OUTPUT FEATURE…
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const [sourcePath, witPath, output, ...disableFeatures] = process.argv.slice(2);
const { component } = await componentize({ sourcePath, witPath, worldName: 'processor', disableFeatures });
await writeFile(output, component);
