# The service and nothing else: no training code, no tests, no compiler.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /opt/enhancer

COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY assets/ assets/
RUN cd assets && sha256sum --check --strict SHA256SUMS
COPY api/ api/
COPY core/ core/
COPY jobs/ jobs/
COPY web/ web/
COPY samples/test_examples/low_resolution/ samples/test_examples/low_resolution/
COPY app.py config.py gunicorn.conf.py upscale.py LICENSE ./

USER 10001:10001
EXPOSE 5000
CMD ["python", "app.py"]
