"""The training loop that aekit replaces, as study notebooks write it, to time it side by side with aekit's.

A beta-VAE on MNIST: torchvision's transform for every item, a DataLoader, an antialiased resize in the decoder, Adam.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from aekit.images.config import DataConfig
from aekit.images.data import read_images


class MNIST(Dataset):
    """What torchvision.datasets.MNIST does for an item: array -> PIL image -> transform."""

    def __init__(self, data_root: Path, n_images: int, config: DataConfig | None = None) -> None:
        images = read_images(config or DataConfig(), "train", data_root=data_root)
        self.images, self.labels = images.images[:n_images, 0], images.labels
        self.transform = transforms.Compose([transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class VAE(nn.Module):
    def __init__(self, latent: int = 10) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(16, 32, 4), nn.ReLU(), nn.Flatten(),
            nn.Linear(2592, 128), nn.ReLU(),
        )  # fmt: skip
        self.mean, self.logvar = nn.Linear(128, latent), nn.Linear(128, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 128), nn.ReLU(), nn.Linear(128, 1600), nn.ReLU())
        self.resize1, self.conv1 = transforms.Resize((21, 21), antialias=True), nn.Conv2d(16, 32, 4)
        self.resize2, self.conv2 = transforms.Resize((30, 30), antialias=True), nn.Conv2d(32, 1, 3)

    def forward(self, x):
        h = self.encoder(x)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
        h = self.decoder(z).view(-1, 16, 10, 10).contiguous()
        h = F.relu(self.conv1(self.resize1(h)))
        return torch.sigmoid(self.conv2(self.resize2(h))), mean, logvar


def train(data_root: Path, n_images: int) -> float:
    """Return images/s of one pass over ``n_images``."""
    loader = DataLoader(MNIST(data_root, n_images), batch_size=100, shuffle=True)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    started = time.perf_counter()
    for x, _ in loader:
        x_hat, mean, logvar = model(x)
        reconstruction = F.binary_cross_entropy(x_hat, x, reduction="sum") / len(x)
        kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp()) / len(x)
        loss = reconstruction + kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return n_images / (time.perf_counter() - started)


if __name__ == "__main__":
    print(json.dumps({"images_per_second": train(Path(sys.argv[1]), int(sys.argv[2]))}))
