// What TestNode wants to know of Node's HTTP/2 client, as JSON on stdout.
// Arguments: the URL of the host, the PEM file of whom to trust.
'use strict';
const http2 = require('http2');
const fs = require('fs');

const [url, roots] = process.argv.slice(2);
const options = url.startsWith('https:') ? { ca: fs.readFileSync(roots) } : {};
const session = http2.connect(url, options);
const result = { statuses: {}, uploaded: 0, websocket: [], trailer: '' };
session.on('error', (e) => { console.error(e); process.exit(1); });

function ask(headers, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined });
    const answer = { text: '', trailers: {} };
    stream.on('response', (h) => { answer.status = h[':status']; });
    stream.on('trailers', (h) => { answer.trailers = h; });
    stream.setEncoding('utf8');
    stream.on('data', (d) => { answer.text += d; });
    stream.on('end', () => resolve(answer));
    stream.on('error', reject);
    if (body !== undefined) stream.end(body);
  });
}

// One masked frame of text, and the frame of a close (RFC 6455 section 5.2).
const frame = (opcode, text) => Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

function webSocket() {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', 'sec-websocket-version': '13',
    }, { endStream: false });
    stream.on('response', (h) => {
      result.websocket.push(String(h[':status']));
      stream.write(frame(1, 'hello'));
    });
    stream.on('data', (d) => {
      if ((d[0] & 0x0f) === 1) {
        result.websocket.push(d.subarray(2).toString());
        stream.write(frame(8, '\x03\xe8'));
      }
    });
    stream.on('end', () => { stream.end(); result.websocket.push('closed'); resolve(); });
    stream.on('error', reject);
  });
}

async function main() {
  await new Promise((resolve) => session.once('remoteSettings', resolve)); // CONNECT has to be allowed
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => ask({ ':path': `/slow?ms=${i}` })));
  for (const a of all) result.statuses[a.status] = (result.statuses[a.status] || 0) + 1;
  const up = await ask({ ':path': '/upload', ':method': 'POST' }, Buffer.alloc(1000000));
  result.uploaded = JSON.parse(up.text).bytes;
  const echo = await ask({ ':path': '/echo?trailers=1', ':method': 'POST', te: 'trailers' }, 'hello');
  result.trailer = echo.trailers['x-check'];
  await webSocket();
  session.close();
  console.log(JSON.stringify(result));
}

main().catch((e) => { console.error(e); process.exit(1); });
