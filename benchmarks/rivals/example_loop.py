"""The smallest VAE that people start from, to time against aekit: 784-400-20, a DataLoader over tensors, Adam at 1e-3.

    python benchmarks/rivals/example_loop.py DATA_ROOT N_IMAGES EPOCHS [SEED]

Network, batch of 128 and loss are those of the VAE among PyTorch's own examples, reimplemented here. Prints a JSON
object per pass over the images: seconds of training so far, images/s, and the mean loss of the test images in nats.
With a seed, a sixth of the training images is set aside as by `aekit --val`, and the loss is that of these.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from notebook import MNIST
from torch import nn
from torch.utils.data import DataLoader

from aekit.images.config import DataConfig
from aekit.images.data import read_images


class VAE(nn.Module):
    def __init__(self, latent: int = 20, hidden: int = 400) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, hidden)
        self.mean, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 784), nn.Sigmoid())

    def forward(self, x):
        h = F.relu(self.hidden(x.flatten(1)))
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
        return self.decoder(z), mean, logvar


def loss_of(model: VAE, x: torch.Tensor) -> torch.Tensor:
    """Return the sum over images of cross-entropy and KL divergence."""
    x_hat, mean, logvar = model(x)
    kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
    return F.binary_cross_entropy(x_hat, x.flatten(1), reduction="sum") + kl


def main() -> None:
    data_root, n_images, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    is_validated = len(sys.argv) > 4
    torch.manual_seed(int(sys.argv[4]) if is_validated else 0)
    config = DataConfig(val=1 / 6 if is_validated else 0.0)
    loader = DataLoader(MNIST(data_root, n_images, config), batch_size=128, shuffle=True)
    held_out = read_images(config, "val" if is_validated else "test", data_root=data_root)
    test = torch.from_numpy(held_out.take(range(len(held_out)))).float() / 255
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seconds = 0.0
    for _ in range(epochs):
        started = time.perf_counter()
        for x, _ in loader:
            optimizer.zero_grad()
            loss_of(model, x).backward()
            optimizer.step()
        took = time.perf_counter() - started
        seconds += took
        with torch.no_grad():
            total = sum(loss_of(model, part).item() for part in test.split(500)) / len(test)
        print(json.dumps({"seconds": seconds, "images_per_second": n_images / took, "test": total}), flush=True)


if __name__ == "__main__":
    main()
