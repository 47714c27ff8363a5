// Calls to JSON and replies to values, for both clients. Services are believed
// to be right, not to be harmless: what is not of its type is local.Protocol.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cloister/calls.hpp"
#include "varlink/envelope.hpp"
#include "varlink/frame.hpp"

namespace cloister::codec {

// io.cloister.Launcher.NAME
std::string method(std::string_view name);

// Parameters of the calls, as JSON text. The request is completed with
// fill_from_caller(); one that JSON cannot carry is an InvalidRequest.
Result<std::string> request_parameters(const Request& request);
std::string wait_parameters(const WaitTarget& target, int options);
std::string signal_parameters(std::string_view id, int signal, SignalScope scope);
std::string stop_parameters(std::string_view id, std::optional<std::chrono::milliseconds> timeout);
std::string list_parameters(const ListFilter& filter);
std::string id_parameters(std::string_view id);
// An offset without a stream is an InvalidRequest.
Result<std::string> output_parameters(std::string_view id, const OutputQuery& query);

Error unreachable(std::string message);
Error transport(const boost::system::error_code& code);
// Of a write: the service has hung up. What it said before, which may be why, is
// still to be read.
bool has_hung_up(const boost::system::error_code& code);
Error protocol(std::string message);

// A reply with its descriptors; an error reply is the Error.
struct Received {
  varlink::Json parameters;
  std::vector<UniqueFd> descriptors;
  bool continues = false;
};
Result<Received> receive(varlink::Message message);

Result<void> decode(Received&& reply, std::type_identity<void>);
Result<Event> decode(Received&& reply, std::type_identity<Event>);
Result<std::optional<Event>> decode(Received&& reply, std::type_identity<std::optional<Event>>);
Result<Started> decode(Received&& reply, std::type_identity<Started>);
Result<Verdict> decode(Received&& reply, std::type_identity<Verdict>);
Result<std::vector<JobInfo>> decode(Received&& reply, std::type_identity<std::vector<JobInfo>>);
Result<Inspection> decode(Received&& reply, std::type_identity<Inspection>);
Result<DryRun> decode(Received&& reply, std::type_identity<DryRun>);
Result<Description> decode(Received&& reply, std::type_identity<Description>);
Result<OutputChunk> decode(Received&& reply, std::type_identity<OutputChunk>);
Result<Answer> decode(Received&& reply, std::type_identity<Answer>);

}  // namespace cloister::codec
