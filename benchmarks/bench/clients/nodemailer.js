// Nodemailer with its pool, in a process of its own: told what to do by lines of JSON.
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const nodemailer = require(process.argv[2]);
const connections = Number(process.argv[3]);

// The messages as the other clients get them, in a file: samples.py is where they are made.
const samples = JSON.parse(fs.readFileSync(process.argv[4], "utf8"));

function fields(sample) {
    const made = {
        from: samples.sender,
        to: sample.recipients,
        subject: sample.subject,
        text: sample.text,
    };
    if (sample.html) {
        made.html = sample.html;
    }
    if (sample.attachment) {
        const content = fs.readFileSync(sample.attachment);
        made.attachments = [{ filename: sample.file_name, contentType: sample.file_type, content }];
    }
    return made;
}

function transport(question) {
    return nodemailer.createTransport({
        pool: true,
        maxConnections: connections,
        maxMessages: Infinity,
        host: "127.0.0.1",
        port: question.port,
        name: "client.example",
        secure: false,
        ignoreTLS: question.security === "none",
        requireTLS: question.security === "starttls",
        auth: question.login ? { user: question.login[0], pass: question.login[1] } : undefined,
    });
}

// Bytes of resident memory: now, or at the peak since it was last asked for. Linux only.
function resident(peak) {
    try {
        if (!peak) {
            global.gc();
            fs.writeFileSync("/proc/self/clear_refs", "5");
        }
        const status = fs.readFileSync("/proc/self/status", "utf8");
        return 1024 * Number(status.match(peak ? /VmHWM:\s+(\d+)/ : /VmRSS:\s+(\d+)/)[1]);
    } catch {
        return null;
    }
}

async function run(question) {
    const sample = samples.samples[question.sample];
    const pool = transport(question);
    const warm = Array.from({ length: connections }, () => pool.sendMail(fields(samples.warm_up)));
    await Promise.all(warm);
    const isMemory = question.do === "memory";
    const count = isMemory ? 1 : question.count;
    const messages = Array.from({ length: count }, () => fields(sample));
    const answer = { sent: count, warm: connections };
    const before = isMemory ? resident() : null;
    const cpu = process.cpuUsage();
    const start = process.hrtime.bigint();
    if (connections === 1) {
        for (const message of messages) {
            await pool.sendMail(message);
        }
    } else {
        await Promise.all(messages.map((message) => pool.sendMail(message)));
    }
    answer.wall = Number(process.hrtime.bigint() - start) / 1e9;
    const used = process.cpuUsage(cpu);
    answer.cpu = (used.user + used.system) / 1e6;
    if (before !== null) {
        answer.peak = resident(true) - before;
    }
    pool.close();
    return answer;
}

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    let answer;
    try {
        answer = await run(JSON.parse(line));
    } catch (error) {
        answer = { error: String(error), trace: error.stack };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
});
