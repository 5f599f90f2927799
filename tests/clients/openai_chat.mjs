// Reads chats with the `openai` package: whole, streamed, cut off and refused.
//
//     node openai_chat.mjs PACKAGES BASE_URL TOKEN
//
// Prints one line for each check that has passed, and fails at the first that does not.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [packages, base, apiKey] = process.argv.slice(2);
const { default: OpenAI } = await import(pathToFileURL(createRequire(`${packages}/`).resolve('openai')).href);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
const messages = [{ role: 'user', content: 'hello there' }];
const text = 'hello there You said that. This answer was prepared, and comes word by word.';
const ask = (more) => client.chat.completions.create({ model: 'canned', messages, ...more });

const whole = await ask({});
assert.equal(whole.choices[0].message.content, text);
console.log('a whole answer');

let read = '';
let finish = null;
for await (const chunk of await ask({ stream: true })) {
  read += chunk.choices[0].delta.content ?? '';
  finish = chunk.choices[0].finish_reason ?? finish;
}
assert.deepEqual([read, finish], [text, 'stop']);
console.log('a stream');

await assert.rejects(async () => {
  for await (const chunk of await ask({ stream: true, messages: [{ role: 'user', content: 'fail' }] })) void chunk;
}, /asked to fail/);
console.log('an error in the middle of a stream');

const wrong = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'wrong', maxRetries: 0 });
await assert.rejects(wrong.chat.completions.create({ model: 'canned', messages }), { status: 401 });
console.log('a refusal with its status');

const leaving = await ask({ stream: true });
for await (const chunk of leaving) {
  void chunk;
  break;
}
console.log('a stream that is not read to its end');
