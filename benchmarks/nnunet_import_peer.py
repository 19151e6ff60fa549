"""nnU-Net's part of benchmarks/nnunet_import.py, run by its own interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import nnunet_peer


def main() -> None:
    work, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    nnunet_peer.set_folders(work)
    trained = work / "nnUNet_results" / name
    if not list(trained.glob("*/fold_all/checkpoint_final.pth")):
        nnunet_peer.prepare(name)
        nnunet_peer.train(name, seconds, threads=2)
    predict(next(trained.glob("*__3d_fullres")), work, name)


def predict(folder: Path, work: Path, name: str) -> None:
    """Predict as nnUNetv2_predict does, and write the logits of one random patch."""
    import nnunetv2.inference.predict_from_raw_data as module
    import numpy as np
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    # the trainer that stops after a given time is a nnUNetTrainer in all that prediction asks
    module.recursive_find_trainer_class_by_name = lambda _: nnUNetTrainer
    predictor = module.nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), ("all",))
    out = work / "nnunet_predictions"
    out.mkdir(exist_ok=True)
    predictor.predict_from_files_sequential(str(work / "test" / "imagesTr"), str(out))
    torch.manual_seed(0)
    channels = len(predictor.dataset_json["channel_names"])
    patch = torch.randn(1, channels, *predictor.configuration_manager.patch_size)
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    with torch.inference_mode():
        logits = predictor.network.eval()(patch)
    np.savez(work / "patch.npz", patch=patch.numpy(), logits=logits.numpy())


if __name__ == "__main__":
    main()
