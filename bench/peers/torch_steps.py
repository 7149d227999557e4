"""One training step of any of PyTorch's models as its users write it, and compiled.

step(x, rate, beta, eps) returns distortion and KL (means). A model gives out, mu and logvar, and the
distortion of each row."""

import torch


def kl_of(mu, logvar):
    return -0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum(1)


class DefaultStepper:
    def __init__(self, model, batch, weight=1.0):
        self.model, self.weight = model, weight
        self.optimizer = self.make_optimizer(model)

    def make_optimizer(self, model):
        return torch.optim.Adam(model.parameters(), lr=1e-3)

    def terms(self, x, eps):
        out, mu, logvar = self.model(x, eps)
        return self.model.distortion(out, x).mean() * self.weight, kl_of(mu, logvar).mean()

    def step(self, x, rate, beta, eps=None):
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        distortion, kl = self.terms(x, eps)
        (distortion / beta + kl).backward()
        self.optimizer.step()
        return distortion, kl

    def value(self, x, beta, eps):
        with torch.no_grad():
            distortion, kl = DefaultStepper.terms(self, x, eps)
            return float(distortion / beta + kl)

    def gradient(self, x, beta, eps):
        """Its length, of D/beta + KL."""
        self.optimizer.zero_grad()
        distortion, kl = self.terms(x, eps)
        (distortion / beta + kl).backward()
        return float(torch.cat([p.grad.reshape(-1) for p in self.model.parameters()]).double().norm())

    def snapshot(self):
        return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def restore(self, state):
        self.model.load_state_dict(state)

    def finish(self):
        return self.model


class CompiledStepper(DefaultStepper):
    def __init__(self, model, batch, weight=1.0):
        super().__init__(model, batch, weight)
        terms = super().terms
        self.compiled = torch.compile(lambda x, eps: terms(x, eps))

    def make_optimizer(self, model):
        return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def terms(self, x, eps):
        return self.compiled(x, eps)
