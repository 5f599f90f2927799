// A processor in JavaScript. It answers its model configuration followed by the request's body.
let word = '';

export function initialize(model) {
  word = model.config;
}

export function process(request) {
  if (request.method === 'DELETE') {
    throw { status: 422, message: 'nothing is deleted here' };
  }
  const body = new Uint8Array(word.length + request.body.length);
  for (let at = 0; at < word.length; at++) body[at] = word.charCodeAt(at);
  body.set(request.body, word.length);
  return { status: 200, contentType: request.contentType, headers: [], body };
}
