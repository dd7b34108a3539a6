// Vectors of floats, and the functions of the networks on them.
//
// The law: every element goes through the same instructions, wherever it stands in a row and whatever the batch. Rows
// are padded to whole vectors, so there is no tail that another code path would round differently. Vectors are the
// compiler's own (GCC's and Clang's extension), so that one source serves every width.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace avf {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

typedef float Lanes __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));

inline Lanes all(float value) { return Lanes{} + value; }
inline Lanes load(const float* at) { return *reinterpret_cast<const Lanes*>(at); }
inline void store(float* at, Lanes value) { *reinterpret_cast<Lanes*>(at) = value; }
inline Lanes load_anywhere(const float* at) {
  Lanes value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline Lanes lower(Lanes a, Lanes b) { return b < a ? b : a; }  // a where either is NaN
inline Lanes higher(Lanes a, Lanes b) { return b > a ? b : a; }
inline Lanes clamped(Lanes x, float low, float high) { return lower(higher(x, all(low)), all(high)); }
inline Lanes magnitude(Lanes x) { return (Lanes)((Ints)x & 0x7fffffff); }
inline Lanes with_sign(Lanes x, Lanes of) { return (Lanes)(((Ints)x & 0x7fffffff) | ((Ints)of & (int32_t)0x80000000)); }

inline Lanes root(Lanes x) {
  Lanes out;
  for (int i = 0; i < LANES; i++) out[i] = __builtin_sqrtf(x[i]);
  return out;
}

// The sum of the lanes, in one fixed order.
inline float total(Lanes x) {
  float sum = 0.0f;
  for (int i = 0; i < LANES; i++) sum += x[i];
  return sum;
}

// e^x by a polynomial of x's remainder modulo log 2 (Cephes), to one unit in the last place; saturates, keeps NaN.
inline Lanes exponential(Lanes x) {
  const float round = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  x = clamped(x, -87.0f, 88.3f);
  Lanes shifted = x * 1.44269504088896341f + round;
  Lanes n = shifted - round;
  Lanes r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Lanes p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  Ints power = (((Ints)shifted - (Ints)all(round)) + 127) << 23;
  return p * (Lanes)power;
}

// log x (Cephes), for x > 0; what is not is taken for the smallest normal number.
inline Lanes logarithm(Lanes x) {
  x = higher(x, all(1.17549435e-38f));
  Ints bits = (Ints)x;
  Ints exponent = ((bits >> 23) & 0xff) - 126;
  Lanes m = (Lanes)((bits & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
  Ints small = m < 0.707106781186547524f;
  exponent = exponent + small;  // a true lane is -1
  m = m + (small ? m : Lanes{}) - 1.0f;
  Lanes e = __builtin_convertvector(exponent, Lanes), squared = m * m;
  Lanes p = all(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  Lanes y = p * m * squared;
  y = y - e * 2.12194440e-4f - 0.5f * squared;
  return m + y + e * 0.693359375f;
}

// log(1 + x) and e^x - 1, accurate also where x is small.
inline Lanes log_one_plus(Lanes x) {
  Lanes sum = 1.0f + x;
  return logarithm(sum) - ((sum - 1.0f) - x) / sum;
}

inline Lanes exponential_less_one(Lanes x) {
  Lanes p = all(1.0f / 40320.0f);  // Taylor's series below one half
  p = p * x + 1.0f / 5040.0f;
  p = p * x + 1.0f / 720.0f;
  p = p * x + 1.0f / 120.0f;
  p = p * x + 1.0f / 24.0f;
  p = p * x + 1.0f / 6.0f;
  p = p * x + 0.5f;
  p = p * (x * x) + x;
  return magnitude(x) < 0.5f ? p : exponential(x) - 1.0f;
}

inline Lanes sigmoid(Lanes x) { return 1.0f / (1.0f + exponential(-x)); }

inline Lanes hyperbolic_tangent(Lanes x) {
  Lanes less = exponential_less_one(-2.0f * magnitude(x));
  return with_sign(-less / (2.0f + less), x);
}

inline Lanes softplus(Lanes x) { return higher(x, Lanes{}) + log_one_plus(exponential(-magnitude(x))); }

// asinh x, accurate near zero and far from it.
inline Lanes inverse_hyperbolic_sine(Lanes x) {
  Lanes a = magnitude(x), squared = a * a;
  Lanes near = log_one_plus(a + squared / (1.0f + root(1.0f + squared)));
  Lanes far = logarithm(a) + 0.69314718055994531f;
  return with_sign(a < 1e9f ? near : far, x);
}

inline Lanes clipped_leaky_relu(Lanes x) { return clamped(x > 0.0f ? x : x * (1.0f / 3.0f), -3.0f, 3.0f); }
inline Lanes elu(Lanes x) { return x > 0.0f ? x : exponential_less_one(x); }

}  // namespace avf
