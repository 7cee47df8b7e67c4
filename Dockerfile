# The image of chat-server. Build: docker build -t twisted-relay:TAG .
FROM docker.io/library/python:3.11-slim-bookworm AS build

WORKDIR /src
COPY setup.py setup.cfg pyproject.toml README.md LICENSE ./
COPY twisted ./twisted
COPY twisted_relay ./twisted_relay
# twistd --help writes the plugin cache, which the user that runs it later may not.
RUN python -m venv /opt/relay \
    && /opt/relay/bin/pip install --no-cache-dir --disable-pip-version-check . \
    && /opt/relay/bin/twistd --help >/dev/null


FROM docker.io/library/python:3.11-slim-bookworm

# For the health check, and for the runbook's commands. Any user may ping in Docker's containers
# (net.ipv4.ping_group_range), but not with a file that asks for a capability which compose.yaml drops:
# a copy asks for nothing.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl iputils-ping \
    && rm -rf /var/lib/apt/lists/* \
    && install -m 755 /usr/bin/ping /tmp/ping \
    && mv /tmp/ping /usr/bin/ping \
    && mkdir /var/lib/relay

COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:$PATH PYTHONUNBUFFERED=1
# A .env in it is read; everything else comes from the environment.
WORKDIR /var/lib/relay
USER 10001:10001
EXPOSE 3001
STOPSIGNAL SIGTERM
# /live, so that an outage of Redis restarts nobody.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["sh", "-c", "exec curl -fsS -o /dev/null http://127.0.0.1:${PORT:-3001}/live"]
CMD ["twistd", "-n", "--pidfile=", "relay"]
