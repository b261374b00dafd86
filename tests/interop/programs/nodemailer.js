// Nodemailer's smtp-server: `node nodemailer.js CONFIG`, as `interop.servers.own` writes it.
"use strict";

const fs = require("fs");
const path = require("path");
const config = JSON.parse(fs.readFileSync(process.argv[2]));
const { SMTPServer } = require(config.module);

let number = 0;

function refusal(code, text) {
  return Object.assign(new Error(text), { responseCode: code });
}

function keep(stream, session, done) {
  const pieces = [];
  stream.on("data", (piece) => pieces.push(piece));
  stream.on("end", () => {
    if (stream.sizeExceeded) return done(refusal(552, "5.3.4 too large"));
    const content = Buffer.concat(pieces);
    const head = content.subarray(0, content.indexOf("\r\n\r\n") + 1);
    if (head.includes("X-Refuse:")) return done(refusal(554, "5.6.0 not this"));
    const recipients = session.envelope.rcptTo.map((one) => one.address);
    const name = path.join(config.folder, `${process.pid}-${number++}`);
    fs.writeFileSync(
      `${name}.part`,
      Buffer.concat([Buffer.from(JSON.stringify({ recipients }) + "\n"), content]),
    );
    fs.renameSync(`${name}.part`, `${name}.eml`);
    done();
  });
}

for (const [name, port] of Object.entries(config.ports)) {
  const options = {
    name: "mail.test",
    secure: name === "tls",
    cert: fs.readFileSync(config.cert),
    key: fs.readFileSync(config.key),
    authOptional: true,
    allowInsecureAuth: true,
    authMethods: ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"],
    disableReverseLookup: true,
    size: name === "over SIZE" ? 100000 : 40000000,
    maxClients: name === "421" ? 1 : Infinity,
    socketTimeout: name === "idle" ? 1000 : 60000,
    onAuth(auth, session, done) {
      const isRight =
        auth.method === "XOAUTH2"
          ? auth.accessToken === config.token
          : auth.username === "user" &&
            (auth.validatePassword ? auth.validatePassword("secret") : auth.password === "secret");
      if (isRight) return done(null, { user: "user" });
      done(null, { data: { status: "401", schemes: "bearer", scope: "mail" } });
    },
    onRcptTo(address, session, done) {
      if (address.address.startsWith("refused")) return done(refusal(550, "5.1.1 no such user"));
      if (address.address.startsWith("later")) return done(refusal(450, "4.2.1 come back later"));
      done();
    },
    onData: keep,
  };
  const server = new SMTPServer(options);
  server.on("error", (error) => console.error(error.message));
  server.listen(port, "127.0.0.1");
}
