# Redis for a machine that reaches no image registry; elsewhere any official redis:7 image does the same.
FROM docker.io/library/debian:bookworm-slim
ARG APT_CONFIG
RUN apt-get update \
 && apt-get install --yes --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /etc/redis
USER 65532:65532
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["redis-server"]
