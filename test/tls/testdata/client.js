// What Node's clients do on a site, for TestClients: a JSON object on stdout.
// Arguments: the protocol, as ALPN names it; the URL of the site; the PEM file
// of whom to trust; the folder of npm packages.
'use strict';
const fs = require('fs');
const http2 = require('http2');
const https = require('https');

const [protocol, url, roots, modules] = process.argv.slice(2);
const { WebSocket } = require(`${modules}/ws`);
const options = {
  ca: fs.readFileSync(roots),
  lookup: (name, o, done) => (o.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)),
};
const result = {};

// Bodies as text, whole.
const text = (stream) => new Promise((resolve, reject) => {
  let all = '';
  stream.setEncoding('utf8');
  stream.on('data', (d) => { all += d; }).on('end', () => resolve(all)).on('error', reject);
});

function first(path, body) {
  return new Promise((resolve, reject) => {
    const request = https.request(url + path, { ...options, method: body ? 'POST' : 'GET' }, (answer) => {
      result.Protocol = answer.socket.alpnProtocol || `http/${answer.httpVersion}`;
      text(answer).then(resolve, reject);
    });
    request.on('error', reject).end(body);
  });
}

function second(session, path, body) {
  const stream = session.request({ ':path': path, ':method': body ? 'POST' : 'GET' }, { endStream: !body });
  result.Protocol = session.alpnProtocol;
  if (body) stream.end(body);
  return text(stream);
}

const said = (got, code, reason) => `${got} ${code} ${reason}`;

function firstSocket() {
  return new Promise((resolve, reject) => {
    let got;
    const socket = new WebSocket(url.replace('https', 'wss') + '/app/ws', options);
    socket.on('upgrade', (answer) => { result.Handshake = answer.statusCode; });
    socket.on('open', () => socket.send('hello'));
    socket.on('message', (d) => { got = d.toString(); socket.send('close'); });
    socket.on('close', (code, reason) => resolve(said(got, code, reason))).on('error', reject);
  });
}

// By an extended CONNECT (RFC 8441), with masked frames of less than 126 bytes
// (RFC 6455 section 5.2).
function secondSocket(session) {
  const frame = (opcode, data) => Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | data.length, 0, 0, 0, 0]), data]);
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const stream = session.request({
      ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/app/ws', 'sec-websocket-version': '13',
    }, { endStream: false });
    stream.on('response', (h) => {
      result.Handshake = h[':status'];
      stream.write(frame(1, Buffer.from('hello')));
    });
    let echoed;
    stream.on('data', (d) => {
      got = Buffer.concat([got, d]);
      while (got.length > 1 && got.length >= 2 + got[1]) {
        const data = got.subarray(2, 2 + got[1]);
        if ((got[0] & 0x0f) === 1) {
          echoed = data.toString();
          stream.write(frame(1, Buffer.from('close')));
        } else {
          resolve(said(echoed, data.readUInt16BE(0), data.subarray(2)));
          stream.end(frame(8, data));
        }
        got = got.subarray(2 + data.length);
      }
    });
    stream.on('error', reject);
  });
}

async function main() {
  let session;
  let ask = first;
  if (protocol === 'h2') {
    session = http2.connect(url, options);
    await new Promise((resolve, reject) => session.once('remoteSettings', resolve).once('error', reject)); // CONNECT has to be allowed
    ask = (...of) => second(session, ...of);
  }
  result.Page = (await ask('/')).match(/<p id="text">(.*)<\/p>/)[1];
  result.Uploaded = JSON.parse(await ask('/app/upload', Buffer.alloc(1000000))).bytes;
  result.Events = (await ask('/app/sse?n=3&ms=1')).replace(/data: |\n$/g, '').trim().split('\n\n').join(' ');
  result.WebSocket = await (session ? secondSocket(session) : firstSocket());
  if (session) session.close();
  console.log(JSON.stringify(result));
}

main().catch((e) => { console.error(e); process.exit(1); });
