#!/usr/bin/env bash
# hnswlib 0.8.0, usearch 2.21.0, faiss-cpu 1.12.0: many copies of one vector hide unrelated entries.
#
# Card catalogs hold such copies: one placeholder picture stands for every card without a scan.
# Guess: copies compete only with each other; all other entries are found as before, and where not, a larger
# search width (ef, expansion_search, efSearch) brings them back.
# Seen, with 4,000 random unit vectors of 128 dimensions, queries close to 1,000 of them, and 4,000 copies of one other
# entry, all inserted in random order (M = 16, construction width 200): recall@1 of those 1,000, which have nothing to do
# with the copies, is 1.00 without copies. With them it is 0 with hnswlib and usearch at a search width of 50 (the search
# ends among the copies) and about 0.7 and 0.9 at 400; with faiss it is about 0.74 at both widths. Links to the copies take
# the places of links to the other entries, and part of the graph can no longer be reached.
# What follows for a user: store equal vectors once, and keep the list of entries that share them outside the graph.
#
# Exits 0 while recall@1 with copies stays at or below 0.93 for all three, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "hnswlib==0.8.0" "usearch==2.21.0" "faiss-cpu==1.12.0" "numpy==1.26.4"
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I - <<'PYTHON'
import sys

import faiss
import hnswlib
import numpy as np
from usearch.index import Index

DIM, ENTRIES, QUERIES, M, CONSTRUCTION = 128, 4000, 1000, 16, 200


def with_hnswlib(vectors, queries, width):
    index = hnswlib.Index("ip", DIM)
    index.init_index(len(vectors), M=M, ef_construction=CONSTRUCTION, random_seed=1)
    index.set_num_threads(1)
    index.add_items(vectors)
    index.set_ef(width)
    return index.knn_query(queries, k=1)[0][:, 0]


def with_usearch(vectors, queries, width):
    index = Index(ndim=DIM, metric="ip", dtype="f32", connectivity=M, expansion_add=CONSTRUCTION, expansion_search=width)
    index.add(np.arange(len(vectors)), vectors, threads=1)
    return np.array([row[0].key for row in index.search(queries, 1, threads=1)])


def with_faiss(vectors, queries, width):
    index = faiss.IndexHNSWFlat(DIM, M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CONSTRUCTION
    index.add(vectors)
    index.hnsw.efSearch = width
    return index.search(queries, 1)[1][:, 0]


random = np.random.default_rng(0)
entries = random.normal(size=(ENTRIES, DIM)).astype(np.float32)
entries /= np.linalg.norm(entries, axis=1, keepdims=True)
queries = entries[1 : QUERIES + 1] + 0.02 * random.normal(size=(QUERIES, DIM)).astype(np.float32)

recall = {}
for copies in (0, 4000):
    vectors = np.concatenate([entries, np.repeat(entries[:1], copies, axis=0)])[random.permutation(ENTRIES + copies)]
    best = (queries @ vectors.T).argmax(axis=1)
    for name, search in (("hnswlib", with_hnswlib), ("usearch", with_usearch), ("faiss", with_faiss)):
        for width in (50, 400):
            recall[name, copies, width] = float((search(vectors, queries, width) == best).mean())
            print(f"{name:8} {copies:5} copies, search width {width:3}: recall@1 of unrelated entries {recall[name, copies, width]:.3f}")

as_described = all(value >= 0.99 if copies == 0 else value <= 0.93 for (_, copies, _), value in recall.items())
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
