// A custom handler that does nothing, in Node without any package.
import http from 'node:http';

http.createServer((request, answer) => {
  request.resume();
  request.on('end', () => answer.end('{}'));
}).listen(Number(process.env.FUNCTIONS_CUSTOMHANDLER_PORT), '127.0.0.1');
