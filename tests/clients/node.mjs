// The HTTP clients of Node: `fetch` and `http`, or `http2` if there is a second argument. See README.md for the plan
// and the output.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import { Readable } from 'node:stream';

const PIECE = 64 << 10;

function readPlan(path) {
  const lines = readFileSync(path, 'utf8').split('\n').slice(1).filter(Boolean);
  const sessions = new Map();
  for (const line of lines) {
    const [session, index, method, url, framing, body, ...fields] = line.split('\t');
    const headers = Object.fromEntries(fields.map((field) => field.split(/: (.*)/s, 2)));
    if (!sessions.has(session)) sessions.set(session, []);
    sessions.get(session).push({ session, index, method, url, framing, body: bodyOf(body), headers });
  }
  return sessions.values();
}

function bodyOf(text) {
  if (text.startsWith('text:')) return Buffer.from(text.slice(5));
  return Buffer.alloc(Number(text.slice(5)), 'a');
}

function* pieces(body) {
  for (let start = 0; start < body.length; start += PIECE) yield body.subarray(start, start + PIECE);
}

function tell(client, request, status, code) {
  console.log([client, request.session, request.index, status, code].join('\t'));
}

function codeOf(text) {
  return /"code":\s*"(\w+)"/.exec(text)?.[1] ?? '-';
}

async function withFetch({ method, url, framing, body, headers }) {
  const options = { method, headers };
  if (framing === 'length') options.body = body;
  if (framing === 'chunked') Object.assign(options, { body: Readable.toWeb(Readable.from(pieces(body))), duplex: 'half' });
  const response = await fetch(url, options);
  return [response.status, codeOf(await response.text())];
}

function withHttp(agent, { method, url, framing, body, headers }) {
  return new Promise((resolve, reject) => {
    const sent = framing === 'length' ? { ...headers, 'content-length': body.length } : headers;
    const request = http.request(url, { method, headers: sent, agent }, (response) => {
      const texts = [];
      response.on('data', (data) => texts.push(data));
      response.on('error', reject);
      response.on('end', () => resolve([response.statusCode, codeOf(Buffer.concat(texts).toString())]));
    });
    request.on('error', reject);
    if (framing === 'length') request.end(body);
    else if (framing === 'chunked') Readable.from(pieces(body)).pipe(request);
    else request.end();
  });
}

function withHttp2(client, { method, url, framing, body, headers }) {
  return new Promise((resolve, reject) => {
    const request = client.request({ ':method': method, ':path': new URL(url).pathname, ...headers });
    const texts = [];
    let status;
    request.on('response', (head) => (status = head[':status']));
    request.on('data', (data) => texts.push(data));
    request.on('error', reject);
    request.on('end', () => resolve([status ?? 'error', codeOf(Buffer.concat(texts).toString())]));
    if (framing === 'none') request.end();
    else Readable.from(pieces(body)).pipe(request);
  });
}

async function run(client, session, send) {
  for (const request of session) {
    try {
      tell(client, request, ...(await send(request)));
    } catch (error) {
      tell(client, request, 'error', `${error} ${error.cause ?? ''}`.replaceAll(/\s+/g, ' '));
    }
  }
}

const [plan, speaksHttp2] = process.argv.slice(2);
for (const session of readPlan(plan)) {
  if (speaksHttp2) {
    const client = http2.connect(session[0].url);
    client.on('error', () => {});
    await run('node http2', session, (request) => withHttp2(client, request));
    client.close();
    continue;
  }
  await run('node fetch', session, withFetch);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  await run('node http', session, (request) => withHttp(agent, request));
  agent.destroy();
}
process.exit(0);
