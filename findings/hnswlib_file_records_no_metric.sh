#!/usr/bin/env bash
# hnswlib 0.8.0: a saved graph records neither its metric nor its dimension.
#
# Guess: `load_index` restores the index that was saved, or raises where the file was made for another space
# or another dimension, as faiss and usearch do.
# Seen: a graph of 64-dimensional vectors, saved from Index("cosine", 64),
#   - loads without an error into Index("ip", 64) and Index("l2", 64), which then return other distances for the same
#     query: for vectors whose lengths differ, "ip" returns distances far below 0;
#   - loads without an error into Index("cosine", 32) and Index("cosine", 128) (not queried here), which report
#     the full number of elements.
# What follows for a user: metric and dimension belong into a file beside the graph, and are compared before loading.
#
# Exits 0 while the behavior is as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "hnswlib==0.8.0" "numpy==1.26.4"
cd "$work"
"$work/venv/bin/python" -I - <<'PYTHON'
import sys

import hnswlib
import numpy as np

random = np.random.default_rng(0)
vectors = random.normal(size=(2000, 64)).astype(np.float32)
saved = hnswlib.Index("cosine", 64)
saved.init_index(len(vectors), random_seed=1)
saved.set_num_threads(1)
saved.add_items(vectors)
saved.save_index("graph.bin")

nearest = {}
for space in ("cosine", "ip", "l2"):
    loaded = hnswlib.Index(space, 64)
    loaded.load_index("graph.bin")
    loaded.set_ef(100)
    _, distances = loaded.knn_query(3 * vectors[:200], k=1)
    nearest[space] = float(np.median(distances))
    print(f"saved as cosine, loaded as {space}: no error, median distance of an entry to itself (scaled by 3) {nearest[space]:.2f}")
counts = {}
for dim in (32, 128):
    loaded = hnswlib.Index("cosine", dim)
    loaded.load_index("graph.bin")
    counts[dim] = loaded.get_current_count()
    print(f"saved with 64 dimensions, loaded with {dim}: no error, {counts[dim]} elements")

as_described = abs(nearest["cosine"]) < 0.01 and nearest["ip"] < -1 and nearest["l2"] > 1 and set(counts.values()) == {2000}
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
