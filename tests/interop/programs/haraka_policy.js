// A plugin of Haraka that decides what to refuse, and stores messages. Its configuration,
// policy.json, is written by `interop.servers.haraka`.
"use strict";

const fs = require("fs");
const path = require("path");

let number = 0;
let open = 0;

exports.register = function () {
  this.settings = this.config.get("policy.json");
};

exports.hook_connect = function (next, connection) {
  const { ports } = this.settings;
  // Haraka writes one reply at a time with Nagle's algorithm on: each group of pipelined
  // commands would wait 40 ms for a delayed acknowledgement.
  connection.client.targetsocket.setNoDelay(true);
  if (connection.local.port === ports.idle) connection.client.setTimeout(1000);
  if (connection.local.port === ports["421"]) {
    if (open > 0) return next(DENYSOFTDISCONNECT, "4.7.0 too many connections");
    open += 1;
    connection.notes.counted = true;
  }
  next();
};

exports.hook_disconnect = function (next, connection) {
  if (connection.notes.counted) open -= 1;
  next();
};

exports.hook_mail = function (next) {
  next(OK);
};

exports.hook_rcpt = function (next, connection, params) {
  const user = params[0].user;
  if (user.startsWith("refused")) return next(DENY, "5.1.1 no such user");
  if (user.startsWith("later")) return next(DENYSOFT, "4.2.1 come back later");
  next(OK);
};

exports.hook_data_post = function (next, connection) {
  if (connection.transaction.header.get("X-Refuse")) return next(DENY, "5.6.0 not this");
  next();
};

// After a login a message is taken for one to relay.
exports.hook_queue = exports.hook_queue_outbound = function (next, connection) {
  const { rcpt_to, message_stream } = connection.transaction;
  const recipients = rcpt_to.map((one) => one.address);
  const name = path.join(this.settings.folder, `${process.pid}-${number++}`);
  const file = fs.createWriteStream(`${name}.part`);
  file.write(JSON.stringify({ recipients }) + "\n");
  file.once("close", () => {
    fs.renameSync(`${name}.part`, `${name}.eml`);
    next(OK, "2.0.0 Ok");
  });
  message_stream.pipe(file);
};
