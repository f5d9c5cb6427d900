# SIPp, for the profile `sipp` of compose.yaml.
FROM debian:bookworm-20260918-slim
RUN apt-get update && apt-get install --yes --no-install-recommends sip-tester && rm -rf /var/lib/apt/lists/*
USER nobody
ENTRYPOINT ["sipp"]
