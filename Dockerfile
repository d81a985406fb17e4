# One Kafka broker with its bubuku daemon. Kafka comes from Maven Central by pom.xml, as everywhere in this project.
#   docker build -t bubuku .
#   docker run -v /data/kafka:/data -v /etc/bubuku:/etc/bubuku:ro --network host --stop-timeout 420 bubuku
# In a container the daemon is pid 1, and its end is the end of all: so SIGTERM stops Kafka gracefully here
# (graceful_terminate), and needs more than docker's 10 s for it. Where Kafka must outlive the daemon, run bubuku on the
# host (config/bubuku.service).

FROM python:3.11-slim-bookworm AS build
ARG KAFKA_VERSION=3.9.2
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless maven \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup.py pyproject.toml README.md LICENSE pom.xml ./
COPY bubuku bubuku
RUN python -m venv /opt/bubuku && /opt/bubuku/bin/pip install --no-cache-dir .
ENV BUBUKU_CACHE=/opt/jars
RUN /opt/bubuku/bin/python -m bubuku.sandbox.runtimes /opt/kafka "$KAFKA_VERSION"

FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --home-dir /var/lib/bubuku kafka \
    && install -d -o kafka -g kafka /data /var/log/bubuku /etc/bubuku
COPY --from=build /opt/bubuku /opt/bubuku
COPY --from=build /opt/jars /opt/jars
COPY --from=build /opt/kafka /opt/kafka
COPY config/bubuku.yaml config/server.properties /etc/bubuku/
ENV PATH=/opt/bubuku/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BUBUKU_CONFIG=/etc/bubuku/bubuku.yaml \
    BUKU_FEATURES=graceful_terminate \
    KAFKA_DIR=/opt/kafka
USER 1000
WORKDIR /var/lib/bubuku
VOLUME ["/data", "/var/lib/bubuku"]
EXPOSE 9092 8888
STOPSIGNAL SIGTERM
# the daemon's loop moves; that Kafka serves is /readyz, which is no reason to end a container
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8888/livez', timeout=4)"]
ENTRYPOINT ["bubuku-daemon"]
