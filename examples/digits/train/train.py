"""Trains the digits classifier. Writes `../model/digits.onnx`, `../data/heldout.jsonl` and `../data/warmup.txt`.

The data set comes inside scikit-learn, so nothing is downloaded. Run it in the environment of `requirements.txt`:

    python -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python train.py
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "model" / "digits.onnx"
HELD_OUT = HERE.parent / "data" / "heldout.jsonl"
WARM_UP = HERE.parent / "data" / "warmup.txt"

SEED = 20
BRIGHTEST = 16  # the largest pixel value; pixels are whole numbers from 0


def classifier():
    return MLPClassifier(hidden_layer_sizes=(64,), alpha=0.1, max_iter=600, random_state=SEED)


def graph(network):
    """Writes the network as four plain operators.

    The scaling of pixels is folded into the first weights, so that callers send pixels as in the data set. The only output
    is the probabilities, because the label is the index of the largest.
    """
    (hidden, output), (hidden_bias, output_bias) = network.coefs_, network.intercepts_
    weights = {"W1": hidden / BRIGHTEST, "B1": hidden_bias, "W2": output, "B2": output_bias}
    nodes = [
        helper.make_node("Gemm", ["pixels", "W1", "B1"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "W2", "B2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "digits",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 64])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 10])],
            [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="bulkhead-digits",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    pixels, labels = load_digits(return_X_y=True)
    known, held_out, known_labels, held_out_labels = train_test_split(
        pixels, labels, test_size=0.2, stratify=labels, random_state=SEED
    )
    folds = cross_val_score(classifier(), known / BRIGHTEST, known_labels, cv=5)
    print(f"cross-validated accuracy {folds.mean():.4f}")

    network = classifier().fit(known / BRIGHTEST, known_labels)
    MODEL.parent.mkdir(exist_ok=True)
    MODEL.write_bytes(graph(network).SerializeToString())
    print(f"{MODEL.name}: {MODEL.stat().st_size} bytes")

    session = onnxruntime.InferenceSession(MODEL)
    (probabilities,) = session.run(None, {"pixels": held_out.astype(np.float32)})
    assert np.allclose(probabilities, network.predict_proba(held_out / BRIGHTEST), atol=1e-5)
    accuracy = (probabilities.argmax(axis=1) == held_out_labels).mean()
    print(f"held-out accuracy {accuracy:.4f} on {len(held_out)} rows")

    rows = [[int(pixel) for pixel in row] for row in held_out]
    lines = [{"label": int(label), "pixels": row} for label, row in zip(held_out_labels, rows)]
    HELD_OUT.parent.mkdir(exist_ok=True)
    HELD_OUT.write_text("".join(compact(line) + "\n" for line in lines))
    WARM_UP.write_text(compact({"pixels": rows[0]}) + "\n")


def compact(value):
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main()
