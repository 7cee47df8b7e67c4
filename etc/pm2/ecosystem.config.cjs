// twisted-relay under PM2: pm2 start ecosystem.config.cjs
//
// PM2's cluster mode is for Node.js alone. Here each instance is a process of its own (fork mode), and
// all of them listen on one port (SO_REUSEPORT), so REDIS_URL and JOIN_TOKEN_SECRET must be set.
// RELAY_HOME holds the virtual environment (bin/twistd) and the relay's .env, which each start reads
// anew: after an edit, `pm2 reload e2ee-chat-server` is all. The port is RELAY_PORT, here.
const path = require("path");

const home = process.env.RELAY_HOME || "/opt/relay";
const port = process.env.RELAY_PORT || "3001";
// On the shared port whichever instance takes the call shows its /metrics and /health. Each shows its
// own on 127.0.0.1 too, on this port and those that follow.
const ownPort = process.env.RELAY_OWN_PORT || "9100";

module.exports = {
  apps: [
    {
      name: "e2ee-chat-server",
      cwd: home,
      // A shell, to work out the port of its own; the relay then takes its place. (A variable of another
      // name, instance_var, is forgotten by `reload --update-env`.)
      script: "/bin/sh",
      args: [
        "-c",
        `RELAY_ENDPOINTS="reuseport:${port} tcp:$((${ownPort} + NODE_APP_INSTANCE)):interface=127.0.0.1" ` +
          `exec ${path.join(home, "bin/twistd")} -n --pidfile= relay`,
      ],
      interpreter: "none",
      exec_mode: "fork",
      instances: 2,
      // The relay says when it listens: a reload goes on to the next instance then.
      wait_ready: true,
      listen_timeout: 10000,
      // GRACEFUL_SHUTDOWN_TIMEOUT_MS and 5 s.
      kill_timeout: 35000,
      min_uptime: 3000,
      max_restarts: 10,
      exp_backoff_restart_delay: 200,
      merge_logs: true,
      env: {
        PYTHONUNBUFFERED: "1",
      },
    },
  ],
};
