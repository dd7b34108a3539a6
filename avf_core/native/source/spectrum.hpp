// Power spectra of real signals of any length, eight at once, one a lane: a mixed-radix transform, decimated in time.
#pragma once
#include <cmath>
#include <vector>

#include "doubles.hpp"
#include "tables.hpp"

namespace avf {

// Parts of a turn, as many as there are.
struct Turn {
  std::vector<double> cosine, sine;

  explicit Turn(int parts) {
    for (int i = 0; i < parts; i++) {
      const double angle = 6.283185307179586477 * i / parts;
      cosine.push_back(std::cos(angle)), sine.push_back(std::sin(angle));
    }
  }
};

class Spectrum {
 public:
  // Signals of an even length are one of complex numbers of half of it.
  explicit Spectrum(int length)
      : length(length), paired(length % 2 == 0), size(paired ? length / 2 : length), cosine(table_of<Turn>(length).cosine), sine(table_of<Turn>(length).sine) {
    for (int left = size, prime = 2; left > 1; prime++)
      for (; left % prime == 0; left /= prime) primes.push_back(prime);
    for (std::vector<Doubles>* one : {&real, &imaginary, &real_parts, &imaginary_parts}) one->resize(size);
  }

  // The powers of bins 0 ... length / 2 of a signal.
  void powers(const Doubles* signal, Doubles* out) {
    transform(signal, size, 1, 0, 0);
    for (int k = 0; k <= length / 2; k++) {
      Doubles re = real[k % size], im = imaginary[k % size];
      if (paired) {
        const int other = (size - k) % size;
        const Doubles even = 0.5 * (re + real[other]), even_i = 0.5 * (im - imaginary[other]);
        const Doubles odd = 0.5 * (im + imaginary[other]), odd_i = 0.5 * (real[other] - re);
        re = even + cosine[k] * odd + sine[k] * odd_i, im = even_i + cosine[k] * odd_i - sine[k] * odd;
      }
      out[k] = re * re + im * im;
    }
  }

 private:
  const int length;
  const bool paired;
  const int size;
  const std::vector<double>&cosine, &sine;
  std::vector<int> primes;
  std::vector<Doubles> real, imaginary, real_parts, imaginary_parts;  // and room for one butterfly

  // Every `step`-th number from the signal's beginning, `count` of them, to `count` places from `to` on.
  void transform(const Doubles* signal, int count, int step, int level, int to) {
    if (count == 1) {
      real[to] = signal[0], imaginary[to] = paired ? signal[1] : Doubles{};
      return;
    }
    const int prime = primes[level], part = count / prime, unit = length / count;
    for (int p = 0; p < prime; p++) transform(signal + (size_t)p * step * (paired ? 2 : 1), part, step * prime, level + 1, to + p * part);
    for (int k = 0; k < part; k++) {
      for (int p = 0; p < prime; p++) {
        const Doubles re = real[to + p * part + k], im = imaginary[to + p * part + k];
        const double c = cosine[p * k * unit], s = sine[p * k * unit];
        real_parts[p] = c * re + s * im, imaginary_parts[p] = c * im - s * re;
      }
      for (int q = 0; q < prime; q++) {
        Doubles re = real_parts[0], im = imaginary_parts[0];
        for (int p = 1, turned = q; p < prime; p++, turned += turned + q < prime ? q : q - prime) {
          const int at = turned * part * unit;
          re += cosine[at] * real_parts[p] + sine[at] * imaginary_parts[p];
          im += cosine[at] * imaginary_parts[p] - sine[at] * real_parts[p];
        }
        real[to + q * part + k] = re, imaginary[to + q * part + k] = im;
      }
    }
  }
};

}  // namespace avf
