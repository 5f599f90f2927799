import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpRetryException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** The HTTP clients of Java: HttpClient and HttpURLConnection. See README.md for the plan and the output. */
public final class Clients {
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final Pattern CODE = Pattern.compile("\"code\":\\s*\"(\\w+)\"");

    private record Request(
            String session, String index, String method, URI url, String framing, byte[] body, List<String> headers) {}

    private record Answer(int status, String code) {}

    private interface Sender {
        Answer send(Request request) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        for (List<Request> session : readPlan(Path.of(args[0])).values()) {
            HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
            run("java HttpClient", session, request -> withHttpClient(client, request));
            run("java HttpURLConnection", session, request -> withUrlConnection(request, false));
            run("java HttpURLConnection, streaming", session, request -> withUrlConnection(request, true));
        }
    }

    private static Map<String, List<Request>> readPlan(Path path) throws IOException {
        Map<String, List<Request>> sessions = new LinkedHashMap<>();
        Files.readAllLines(path).stream().skip(1).map(line -> line.split("\t")).forEach(fields -> {
            List<String> headers = new ArrayList<>();
            Arrays.stream(fields).skip(6).forEach(field -> headers.addAll(List.of(field.split(": ", 2))));
            Request request = new Request(
                    fields[0], fields[1], fields[2], URI.create(fields[3]), fields[4], body(fields[5]), headers);
            sessions.computeIfAbsent(fields[0], name -> new ArrayList<>()).add(request);
        });
        return sessions;
    }

    private static byte[] body(String text) {
        if (text.startsWith("text:")) {
            return text.substring(5).getBytes(StandardCharsets.UTF_8);
        }
        byte[] body = new byte[Integer.parseInt(text.substring(5))];
        Arrays.fill(body, (byte) 'a');
        return body;
    }

    private static void run(String client, List<Request> session, Sender sender) {
        for (Request request : session) {
            String outcome;
            try {
                Answer answer = sender.send(request);
                outcome = answer.status() + "\t" + answer.code();
            } catch (Exception error) {
                outcome = "error\t" + error.toString().replaceAll("\\s+", " ");
            }
            System.out.println(String.join("\t", client, request.session(), request.index(), outcome));
        }
    }

    private static Answer withHttpClient(HttpClient client, Request request) throws Exception {
        BodyPublisher body =
                switch (request.framing()) {
                    case "none" -> BodyPublishers.noBody();
                    case "length" -> BodyPublishers.ofByteArray(request.body());
                    default -> BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(request.body()));
                };
        HttpRequest.Builder sent = HttpRequest.newBuilder(request.url()).timeout(PATIENCE).method(request.method(), body);
        if (!request.headers().isEmpty()) {
            sent.headers(request.headers().toArray(String[]::new));
        }
        var answer = client.send(sent.build(), BodyHandlers.ofString());
        return new Answer(answer.statusCode(), codeOf(answer.body()));
    }

    /** Without streaming, the class buffers the whole body; with it, bytes are sent as written. */
    private static Answer withUrlConnection(Request request, boolean streaming) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) request.url().toURL().openConnection(java.net.Proxy.NO_PROXY);
        connection.setReadTimeout((int) PATIENCE.toMillis());
        connection.setRequestMethod(request.method());
        for (int i = 0; i < request.headers().size(); i += 2) {
            connection.setRequestProperty(request.headers().get(i), request.headers().get(i + 1));
        }
        if (!request.framing().equals("none")) {
            connection.setDoOutput(true);
            if (request.framing().equals("chunked")) {
                connection.setChunkedStreamingMode(64 << 10);
            } else if (streaming) {
                connection.setFixedLengthStreamingMode(request.body().length);
            }
            try (OutputStream out = connection.getOutputStream()) {
                out.write(request.body());
            }
        }
        int status;
        try {
            status = connection.getResponseCode();
        } catch (HttpRetryException unrepeatable) {
            // A streamed body cannot be sent again with credentials, so the class reports the status in this exception.
            return new Answer(unrepeatable.responseCode(), "-");
        }
        InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        String text = in == null ? "" : new String(in.readAllBytes(), StandardCharsets.UTF_8);
        return new Answer(status, codeOf(text));
    }

    private static String codeOf(String text) {
        var found = CODE.matcher(text);
        return found.find() ? found.group(1) : "-";
    }
}
