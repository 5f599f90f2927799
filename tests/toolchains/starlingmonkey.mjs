// Makes a component with StarlingMonkey: node starlingmonkey.mjs SOURCE WIT OUTPUT FEATURE…, without these features.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const [sourcePath, witPath, output, ...disableFeatures] = process.argv.slice(2);
const { component } = await componentize({ sourcePath, witPath, worldName: 'processor', disableFeatures });
await writeFile(output, component);
