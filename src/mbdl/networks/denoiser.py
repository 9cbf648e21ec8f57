"""The protocol of a network that removes noise from an image."""

import abc

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from .images import check_noise_level, on_channels, with_noise_level


class AbstractDenoiser(eqx.Module):
    """A network that predicts the noise of an image, and subtracts it: ``s = x - noise(x, σ)``.

    A subclass holds ``channels`` and ``noise_conditioned`` as static fields and implements ``noise``. One that was
    built with ``noise_conditioned=True`` takes the noise level σ as a constant extra channel.
    """

    channels: eqx.AbstractVar[int]
    noise_conditioned: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def noise(self, image: Float[Array, "height width extended"]) -> Float[Array, "height width channel"]:
        """The noise in an image, to which the channel of the noise level has been appended where there is one.

        Args:
            image: ``[height, width, channels]``, or one channel more when ``noise_conditioned``.

        Returns:
            The predicted noise ``[height, width, channels]``.
        """

    def __call__(
        self,
        image: Float[Array, "height width"] | Float[Array, "height width channel"],
        noise_level: ArrayLike | None = None,
    ) -> Float[Array, "height width"] | Float[Array, "height width channel"]:
        """Denoises one image, of any size.

        Args:
            image: ``[height, width]`` or ``[height, width, channel]``. A network of one channel treats each channel of
                a colour image by itself.
            noise_level: standard deviation of the noise in the image's unit, a scalar; exactly for a network that was
                built with ``noise_conditioned=True``.

        Returns:
            The denoised image, of the same shape.

        Raises:
            TypeError: if a noise level is missing or not wanted, or the image does not hold floating-point numbers.
            ValueError: if the shape of the image does not fit.
        """
        name = type(self).__name__
        check_noise_level(noise_level, self.noise_conditioned, name)
        return on_channels(
            lambda x: x - self.noise(with_noise_level(x, noise_level)).astype(x.dtype), image, self.channels, name
        )
