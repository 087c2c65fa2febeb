# CPU image: docker build -t pnasnet . && docker run --rm -v "$PWD:/data" pnasnet embed photos -o features.parquet
# With extras: docker build --build-arg EXTRAS=serve -t pnasnet-serve .
FROM python:3.13-slim-bookworm AS build
ARG EXTRAS=""
# Some extras need torch: its CPU build, without gigabytes of CUDA.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
WORKDIR /source
COPY LICENSE README.md pyproject.toml ./
COPY src src
RUN python -m venv /opt/pnasnet && /opt/pnasnet/bin/pip install --no-cache-dir ".${EXTRAS:+[$EXTRAS]}"

FROM python:3.13-slim-bookworm
COPY --from=build /opt/pnasnet /opt/pnasnet
# Downloads and compiled models: mount a volume there to keep them. Any user may write, so that --user works.
# Kubernetes checks that a user is not root by its number.
RUN useradd --uid 10001 --create-home pnasnet && install -d -m 1777 /cache /data
ENV PATH=/opt/pnasnet/bin:$PATH PNASNET_CACHE=/cache HF_HOME=/cache/huggingface
USER 10001
WORKDIR /data
ENTRYPOINT ["pnasnet"]
CMD ["--help"]
