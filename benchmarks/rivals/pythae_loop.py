"""aekit's default network trained by pythae's trainer, in an environment of its own, to time it against aekit.

    python benchmarks/rivals/pythae_loop.py DATA_ROOT N_IMAGES EPOCHS [SEED]

Needs pythae and aekit. Same network, same likelihood, same batch of 100; what differs is the loop. Prints a JSON
object per pass over the images: seconds of training so far and images/s, evaluation left out, and the mean loss of the
test images in nats. With a seed, a sixth of the training images is set aside as by `aekit --val`, and the loss is that
of these.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from aekit.images.config import DataConfig, ModelConfig
from aekit.images.data import read_images
from aekit.images.models import build_model


def main() -> None:
    data_root, n_images, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with contextlib.redirect_stdout(io.StringIO()):
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
        from pythae.trainers.training_callbacks import TrainingCallback
    logging.disable(logging.CRITICAL)

    class Encoder(BaseEncoder):
        def __init__(self, network) -> None:
            super().__init__()
            self.body, self.mean, self.logvar = network.encoder, network.mean_head, network.logvar_head

        def forward(self, x):
            h = self.body(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.logvar(h))

    class Decoder(BaseDecoder):
        def __init__(self, network) -> None:
            super().__init__()
            self.body = network.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=torch.sigmoid(self.body(z)))

    is_validated = len(sys.argv) > 4
    torch.manual_seed(int(sys.argv[4]) if is_validated else 0)
    data_config = DataConfig(val=1 / 6 if is_validated else 0.0)
    train, test = (
        torch.from_numpy(images.take(range(len(images)))).float() / 255
        for images in (
            read_images(data_config, split, data_root=data_root)
            for split in ("train", "val" if is_validated else "test")
        )
    )
    network = build_model(ModelConfig(kind="vae", latent=10), (1, 28, 28))
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=10, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(network), decoder=Decoder(network))
    rows: list[dict] = []

    class Evaluation(TrainingCallback):
        """Evaluates after each epoch, outside of the time that is measured."""

        def on_train_begin(self, *_, **__) -> None:
            self.seconds, self.started = 0.0, time.perf_counter()

        def on_epoch_end(self, *_, **__) -> None:
            self.seconds += time.perf_counter() - self.started
            model.eval()
            with torch.no_grad():
                total = sum(loss_of(model, part).item() for part in test.split(500)) / len(test)
            model.train()
            rate = (len(rows) + 1) * min(n_images, len(train)) / self.seconds
            rows.append({"seconds": self.seconds, "images_per_second": rate, "test": total})
            self.started = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        options = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=100,
            per_device_eval_batch_size=500,
            no_cuda=True,
        )
        data = model_data(train[:n_images])
        trainer = BaseTrainer(
            model=model, train_dataset=data, eval_dataset=None, training_config=options, callbacks=[Evaluation()]
        )
        with contextlib.redirect_stderr(io.StringIO()):
            trainer.train()
    for row in rows:
        print(json.dumps(row), flush=True)


def model_data(images: torch.Tensor):
    """Return images as pythae's trainer takes them."""
    from pythae.data.datasets import BaseDataset

    return BaseDataset(images, torch.zeros(len(images)))


def loss_of(model, x: torch.Tensor) -> torch.Tensor:
    """Return the sum over images of cross-entropy and KL divergence, with one sample each."""
    h = model.encoder(x)
    mean, logvar = h.embedding, h.log_covariance
    x_hat = model.decoder(mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)).reconstruction
    kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
    return F.binary_cross_entropy(x_hat, x, reduction="sum") + kl


if __name__ == "__main__":
    main()
