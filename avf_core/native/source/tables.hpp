// Tables that are made once for a number, and stay: what they are of is their type.
#pragma once
#include <map>
#include <memory>
#include <mutex>

namespace avf {

template <class Table>
const Table& table_of(int number) {
  static std::mutex lock;
  static std::map<int, std::unique_ptr<Table>> made;
  std::lock_guard<std::mutex> held(lock);
  std::unique_ptr<Table>& found = made[number];
  if (!found) found = std::make_unique<Table>(number);
  return *found;
}

}  // namespace avf
