# The service only: no training code, no tests, no compiler, no installer.
# The digest is that of Python 3.11.16; docs/deployment.md says how to update it.
ARG TAG=3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

FROM python:${TAG} AS packages
WORKDIR /packages
COPY requirements.txt /
# Wheels only: nothing is compiled, so no compiler is needed.
RUN pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
      --target . --requirement /requirements.txt
# Remove files that a running service never loads. The build fails if a new release lacks one.
RUN rm -r bin tensorflow/include tensorflow/xla_aot_runtime_src clang keras grpc setuptools \
      h5py h5py.libs pygments prompt_toolkit wcwidth \
      tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so \
      tensorflow/compiler/tf2xla/ops/_xla_ops.so \
      imagecodecs.libs/libaom-* imagecodecs.libs/libavif-* imagecodecs.libs/libjxl-* \
      imagecodecs.libs/libcpcodec-* imagecodecs.libs/libSZ3c-* \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 -exec rm -r {} + \
    && find numpy -depth -type d -name tests -exec rm -r {} + \
    && find . \( -name "*.pyi" -o -name "*.h" \) -delete \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash .

FROM python:${TAG}
ARG REVISION=unknown
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="MAX Image Resolution Enhancer" \
      org.opencontainers.image.description="A service that makes pictures four times as wide and high" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Python files are compiled in the image: a read-only root allows no cache files at run time.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONPATH=/opt/packages HOME=/tmp
WORKDIR /opt/enhancer

COPY --from=packages /packages /opt/packages
# .dockerignore selects the files.
COPY . .
# Remove the base image's pip: nothing is installed into a running container.
RUN cd assets && sha256sum --check --strict SHA256SUMS && cd .. \
    && python -m whitenoise.compress --quiet web \
    && python -m compileall -q --invalidation-mode unchecked-hash . \
    && rm -r "$(python -c 'import os, pip; print(os.path.dirname(pip.__file__))')"

# A new volume takes over the owner of this folder, so that the service can write to it. So can any
# other user of the group 0, which OpenShift gives to every container.
RUN install -d -o 10001 -g 0 -m 770 /var/lib/enhancer

USER 10001:10001
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-IS", "-c", \
  "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"ENHANCER_PORT\", 5000)}/health/ready', timeout=4)"]
CMD ["python", "app.py"]
