# Questline as one image: every process is a command of it. docker build -t questline .
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/questline \
    && /opt/questline/bin/pip install --no-cache-dir '.[rabbitmq,kafka,redis,tracing]'

FROM python:3.12-slim
RUN useradd --system --create-home --uid 10001 questline
COPY --from=build /opt/questline /opt/questline
ENV PATH=/opt/questline/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    QUESTLINE_HOST=0.0.0.0 \
    QUESTLINE_PORT=8080 \
    QUESTLINE_WORKER_PORT=8081
USER questline
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
ENTRYPOINT ["questline"]
CMD ["serve"]
