# For GPU machines: docker build -t hikaku . && docker run --gpus all -v hikaku-state:/state hikaku tune studies/japanese.yaml
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv python3-dev build-essential git \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /hikaku
COPY pyproject.toml constraints.txt Makefile README.md ./
COPY hikaku hikaku
COPY records records
COPY search_spaces search_spaces
COPY trainables trainables
COPY analysis analysis
RUN make setup
COPY studies studies
ENV PATH=/hikaku/.venv/bin:$PATH HIKAKU_STATE=/state HIKAKU_CACHE=/state/cache
VOLUME /state
ENTRYPOINT ["hikaku"]
CMD ["doctor"]
